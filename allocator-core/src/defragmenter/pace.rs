//! When a pass of the background defragmenter is due, and how long it pauses after one. No clock and no thread:
//! both are told what time it is.

use super::DefragmenterState;
use super::settings::Settings;
use crate::compact::DefragReport;
use crate::stats::Usage;
use std::time::{Duration, Instant};

/// Waste that goes by less than this is the same.
const GAIN_MIN: f64 = 0.001;
/// Slices of planning in a row, more than any heap takes.
const EMPTY_MAX: u32 = 10_000;
/// Rests are doubled this often at most.
const DOUBLINGS_MAX: u32 = 20;

/// What became of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// It gained nothing.
    pub(super) futile: bool,
    /// Until the next look.
    pub(super) pause: Duration,
}

/// The state of a background defragmenter between its passes.
#[derive(Debug)]
pub(super) struct Pace {
    settings: Settings,
    state: DefragmenterState,
    waste: f64,
    /// Futile ends in a row.
    futile: u32,
    /// The least waste since the last work.
    least: f64,
    /// Bytes moved since the waste was less than ever in this work.
    moved: u64,
    /// Slices in a row that moved nothing and gave nothing back.
    empty: u32,
    /// Something was gained since this work began.
    gained: bool,
    /// The last pass gave pages of slots back, as many as a slice may: there may be more.
    slots_left: bool,
    /// While it rests: the least waste since then, and until when.
    rest: Option<(f64, Instant)>,
}

impl Pace {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: DefragmenterState::Idle,
            waste: 0.0,
            futile: 0,
            least: 1.0,
            moved: 0,
            empty: 0,
            gained: false,
            slots_left: false,
            rest: None,
        }
    }

    pub(super) fn state(&self) -> DefragmenterState {
        self.state
    }

    pub(super) fn waste(&self) -> f64 {
        self.waste
    }

    pub(super) fn slice(&self) -> Duration {
        self.settings.slice
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.interval
    }

    /// Whether a pass is due.
    pub(super) fn is_due(&mut self, usage: Usage, now: Instant) -> bool {
        let Settings { start_above, stop_below, ignore_below, .. } = self.settings;
        self.waste = usage.waste();
        let is_active = self.state == DefragmenterState::Active;
        let limit = if is_active { stop_below } else { start_above };
        if is_active && self.slots_left {
            return true;
        }
        if self.waste <= limit || usage.wasted() < ignore_below {
            self.state = DefragmenterState::Idle;
            (self.rest, self.futile) = (None, 0);
            return false;
        }
        if let Some((least, until)) = &mut self.rest {
            *least = least.min(self.waste);
            // As much more as it takes to start from where it would have stopped.
            let is_more = self.waste > *least + (start_above - stop_below).max(GAIN_MIN);
            if is_more {
                self.futile = 0;
            } else if now < *until {
                return false;
            }
        }
        if !is_active {
            (self.least, self.moved, self.empty) = (self.waste, 0, 0);
            (self.gained, self.rest) = (false, None);
            self.state = DefragmenterState::Active;
        }
        true
    }

    /// What to make of a pass that took `busy` and left the heap like this.
    pub(super) fn after(
        &mut self,
        usage: Usage,
        report: &DefragReport,
        busy: Duration,
        now: Instant,
    ) -> Verdict {
        self.waste = usage.waste();
        self.slots_left = report.freed_slot_bytes > 0;
        if report.freed_bytes > 0 || self.slots_left || self.waste < self.least - GAIN_MIN {
            self.least = self.least.min(self.waste);
            (self.moved, self.gained) = (0, true);
        } else {
            self.moved += report.moved_bytes;
        }
        let is_empty = report.moves == 0 && report.freed_bytes == 0 && !self.slots_left;
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        // A slice may pass in planning, which the next one goes on with.
        let is_stuck = report.complete || report.blocked_by_guards > 0 || self.empty > EMPTY_MAX;
        let futile = is_empty && is_stuck || self.moved > usage.committed;
        let pause = self.pause_after(busy);
        if !futile && (!report.complete || self.slots_left) {
            return Verdict { futile, pause };
        }
        // Nothing is left to do, or to gain.
        self.futile = if self.gained { 0 } else { (self.futile + 1).min(DOUBLINGS_MAX) };
        let doubled = self.settings.interval * (1 << self.futile.saturating_sub(1));
        let rest = doubled.min(self.settings.rest_max).max(pause);
        self.rest = Some((self.waste, now + rest));
        self.state = DefragmenterState::Resting;
        Verdict { futile, pause: self.settings.interval.max(pause) }
    }

    /// As long a pause as makes the work the share of the time that it should be: the longer a slice took, the
    /// longer.
    fn pause_after(&self, busy: Duration) -> Duration {
        let Settings { start_above, full_effort_at, share_min, share_max, .. } = self.settings;
        let above = (self.waste - start_above).max(0.0);
        let part = if above >= full_effort_at - start_above {
            1.0
        } else {
            above / (full_effort_at - start_above)
        };
        let share = share_min + (share_max - share_min) * part;
        busy.mul_f64((1.0 - share) / share)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_micros(500);

    fn pace() -> Pace {
        Pace::new(Settings { ignore_below: 0, ..Settings::default() })
    }

    /// A heap of 100 MB with so many percent of waste.
    fn wasting(percent: u64) -> Usage {
        Usage { live: (100 - percent) * 1_000_000, committed: 100_000_000 }
    }

    fn moved(moves: u64, freed_bytes: u64, complete: bool) -> DefragReport {
        DefragReport {
            moves,
            moved_bytes: moves * 1000,
            freed_bytes,
            complete,
            ..Default::default()
        }
    }

    fn blocked() -> DefragReport {
        DefragReport { blocked_by_guards: 1, ..moved(0, 0, false) }
    }

    #[test]
    fn a_slice_of_planning_is_not_futile_and_planning_for_ever_is() {
        let (mut pace, now) = (pace(), Instant::now());
        for slices in 0.. {
            assert!(pace.is_due(wasting(40), now));
            if pace.after(wasting(40), &moved(0, 0, false), SLICE, now).futile {
                assert_eq!(slices, EMPTY_MAX);
                break;
            }
        }
    }

    #[test]
    fn it_starts_above_one_threshold_and_stops_below_the_other() {
        let (mut pace, now) = (pace(), Instant::now());
        for (percent, due) in
            [(0, false), (10, false), (11, true), (9, true), (6, true), (5, false)]
        {
            assert_eq!(pace.is_due(wasting(percent), now), due, "{percent} %");
            if due {
                pace.after(wasting(percent), &moved(100, 4096, false), SLICE, now);
            }
        }
        assert!(!pace.is_due(wasting(9), now), "hysteresis");
        assert!(pace.is_due(wasting(50), now));
    }

    #[test]
    fn little_waste_is_ignored_whatever_its_share() {
        let mut pace = Pace::new(Settings { ignore_below: 1001, ..Settings::default() });
        let now = Instant::now();
        assert!(!pace.is_due(Usage { live: 0, committed: 1000 }, now));
        assert!(pace.is_due(Usage { live: 0, committed: 1001 }, now));
    }

    #[test]
    fn the_share_of_a_core_grows_with_the_waste_and_overruns_are_made_up_for() {
        let (mut pace, now) = (pace(), Instant::now());
        let mut pause = |percent, busy: Duration| {
            assert!(pace.is_due(wasting(percent), now));
            pace.after(wasting(percent), &moved(100, 4096, false), busy, now).pause
        };
        let share =
            |busy: Duration, pause: Duration| busy.as_secs_f64() / (busy + pause).as_secs_f64();
        for (percent, expected) in
            [(11, 0.02575), (10, 0.02), (8, 0.02), (30, 0.135), (50, 0.25), (90, 0.25)]
        {
            for busy in [SLICE, SLICE * 7] {
                let share = share(busy, pause(percent, busy));
                assert!((share - expected).abs() < 1e-4, "{percent} %: {share}");
            }
        }
    }

    #[test]
    fn futile_passes_are_repeated_ever_more_rarely() {
        let (mut pace, mut now) = (pace(), Instant::now());
        let mut rests = Vec::new();
        for _ in 0..12 {
            assert!(pace.is_due(wasting(40), now));
            let verdict = pace.after(wasting(40), &blocked(), SLICE, now);
            assert!(verdict.futile);
            assert_eq!(pace.state(), DefragmenterState::Resting);
            let start = now;
            while !pace.is_due(wasting(40), now) {
                now += Duration::from_millis(10);
            }
            rests.push((now - start).as_millis());
        }
        assert_eq!(rests[..7], [100, 200, 400, 800, 1600, 3200, 6400]);
        assert!(rests[7..].iter().all(|rest| *rest == 10_000), "{rests:?}");
    }

    #[test]
    fn a_rest_ends_early_where_clearly_more_is_wasted() {
        let (mut pace, now) = (pace(), Instant::now());
        assert!(pace.is_due(wasting(40), now));
        pace.after(wasting(40), &blocked(), SLICE, now);
        assert!(!pace.is_due(wasting(44), now));
        assert!(!pace.is_due(wasting(30), now), "others made use of it");
        assert!(pace.is_due(wasting(36), now));
    }

    #[test]
    fn what_is_complete_rests_even_above_the_threshold() {
        let (mut pace, now) = (pace(), Instant::now());
        assert!(pace.is_due(wasting(40), now));
        let verdict = pace.after(wasting(12), &moved(1000, 28_000_000, true), SLICE, now);
        assert!(!verdict.futile);
        assert_eq!(pace.state(), DefragmenterState::Resting);
        assert!(!pace.is_due(wasting(13), now));
        assert!(!pace.is_due(wasting(4), now));
        assert_eq!(pace.state(), DefragmenterState::Idle);
    }

    #[test]
    fn it_goes_on_while_pages_of_slots_are_given_back() {
        let (mut pace, now) = (pace(), Instant::now());
        for (waste, slots) in [(40, 4096), (0, 4096), (0, 0)] {
            assert!(pace.is_due(wasting(waste), now));
            let report = DefragReport { freed_slot_bytes: slots, ..moved(0, 0, true) };
            let verdict = pace.after(wasting(0), &report, SLICE, now);
            assert_eq!(verdict.futile, slots == 0);
        }
        assert!(!pace.is_due(wasting(0), now));
    }

    #[test]
    fn moving_without_any_gain_is_given_up() {
        let (mut pace, now) = (pace(), Instant::now());
        let mut passes = 0;
        loop {
            assert!(pace.is_due(wasting(40), now));
            passes += 1;
            if pace.after(wasting(40), &moved(10_000, 0, false), SLICE, now).futile {
                break;
            }
        }
        assert_eq!(passes, 11, "more than the 100 MB that are committed");
    }
}
