//! The course of a measurement: what is timed, and when the resident size is looked at.

use crate::footprint::blocks::Blocks;
use crate::footprint::live::{Live, Room};
use crate::footprint::report::{Checkpoint, Defragmentation, Point, Report};
use crate::footprint::resident::Meter;
use allocator_core::Defragmenter;
use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use std::thread;
use std::time::{Duration, Instant};

/// How long nothing is done before the last look.
const REST: Duration = Duration::from_millis(500);

/// A measurement that goes on.
#[derive(Debug)]
pub struct Run<B: Blocks> {
    meter: Meter,
    live: Live<B>,
    /// The resident size before the first block, with the room for the keys.
    base: u64,
    report: Report,
    background: Option<Defragmenter>,
}

impl<B: Blocks> Run<B> {
    /// For so many blocks at a time, of so many bytes at most, and of so many bytes in all.
    ///
    /// # Errors
    /// The contestant cannot be had, or the system tells no resident size.
    pub fn new(blocks: usize, size_max: u32, bytes: u64) -> Result<Self> {
        let mut meter = Meter::start()?;
        let room = Room::new(blocks, size_max);
        let base = meter.bytes()?;
        // What was resident before does not count.
        meter.highest()?;
        let mut live = Live::new(B::with_room(bytes)?, room);
        // Nothing is there to be moved: afterwards the code is resident, which is the program's own
        // and must not look like memory that a defragmentation takes.
        live.blocks().defragment();
        Ok(Self { meter, live, base, report: Report::default(), background: None })
    }

    /// Does something with the blocks, and adds its time.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn timed<R>(&mut self, work: impl FnOnce(&mut Live<B>) -> Result<R>) -> Result<R> {
        let start = Instant::now();
        let result = work(&mut self.live)?;
        self.report.elapsed_s += start.elapsed().as_secs_f64();
        Ok(result)
    }

    /// A share of the blocks was deleted. Defragments, where that can be asked for.
    ///
    /// # Errors
    /// A block that is not what it was.
    pub fn deleted(&mut self) -> Result<()> {
        self.report.deleted = Some(self.checkpoint()?);
        self.live.verify()?;
        if self.defragment()? {
            self.report.defragmented = Some(self.checkpoint()?);
            self.live.verify()?;
        }
        Ok(())
    }

    /// From now on the background defragmenter is at work, where there is one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_background(&mut self) -> Result<()> {
        self.background = self.live.blocks().start_background()?;
        Ok(())
    }

    /// The workload is over.
    ///
    /// # Errors
    /// A block that is not what it was.
    pub fn ended(&mut self) -> Result<()> {
        self.report.end = Some(self.checkpoint()?);
        thread::sleep(REST);
        self.report.settled = Some(self.checkpoint()?);
        self.report.background = self.background.take().map(|it| it.stop().into());
        self.live.verify()
    }

    /// What was found.
    ///
    /// # Errors
    /// The system tells no resident size.
    pub fn report(mut self) -> Result<Report> {
        let grown = |bytes: u64| bytes.saturating_sub(self.base);
        let point = |point: Point| Point { bytes: grown(point.bytes), ..point };
        self.report.peak_bytes = grown(self.meter.highest()?);
        self.report.peak_live_bytes = self.live.bytes_max();
        self.report.curve = self.meter.curve().into_iter().map(point).collect();
        Ok(self.report)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let grown_bytes = self.meter.bytes()?.saturating_sub(self.base);
        self.report.stages.push(self.meter.seconds());
        let (live_bytes, live_blocks) = (self.live.bytes(), self.live.len() as u64);
        ensure!(live_bytes > 0, "nothing is live");
        let account = self.live.blocks().account(grown_bytes);
        Ok(Checkpoint { grown_bytes, live_bytes, live_blocks, account })
    }

    /// Whether that was possible.
    fn defragment(&mut self) -> Result<bool> {
        let before = self.meter.bytes()?;
        self.meter.take_highest()?;
        let (cpu, start) = (thread_time(), Instant::now());
        let Some(report) = self.live.blocks().defragment() else { return Ok(false) };
        let (elapsed_s, cpu) = (start.elapsed().as_secs_f64(), thread_time().saturating_sub(cpu));
        self.report.elapsed_s += elapsed_s;
        self.report.defragmentation = Some(Defragmentation {
            start_bytes: before.saturating_sub(self.base),
            peak_bytes: self.meter.take_highest()?.saturating_sub(self.base),
            cpu_s: cpu.as_secs_f64(),
            elapsed_s,
            moves: report.moves,
            moved_bytes: report.moved_bytes,
            complete: report.complete,
        });
        Ok(true)
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::blocks::{HeapBlocks, SystemBlocks};
    use crate::footprint::resident::one_at_a_time;

    fn measured<B: Blocks>() -> Report {
        let mut run = Run::<B>::new(40_000, 1000, 40_000_000).unwrap();
        run.timed(|live| (0..40_000).try_for_each(|_| live.insert(1000))).unwrap();
        run.timed(Live::remove_every_other).unwrap();
        run.deleted().unwrap();
        run.start_background().unwrap();
        run.ended().unwrap();
        run.report().unwrap()
    }

    #[test]
    fn memory_is_accounted_for() {
        let _turn = one_at_a_time();
        for report in [measured::<HeapBlocks>(), measured::<SystemBlocks>()] {
            assert!(report.elapsed_s > 0.0 && report.peak_live_bytes == 40_000_000);
            let deleted = report.deleted.unwrap();
            assert_eq!((deleted.live_bytes, deleted.live_blocks), (20_000_000, 20_000));
            // Other tests of the process take and give back some meanwhile, a few megabytes.
            assert!(report.peak_factor().unwrap() > 0.5, "{report:?}");
            assert!(!report.curve.is_empty());
        }
    }

    #[test]
    fn ours_defragments_and_the_others_do_not() {
        let _turn = one_at_a_time();
        let (ours, system) = (measured::<HeapBlocks>(), measured::<SystemBlocks>());
        let run = ours.defragmentation.unwrap();
        assert!(run.moves > 1000 && run.cpu_s > 0.0 && run.elapsed_s > 0.0 && run.complete);
        assert!(ours.background.is_some() && ours.stages.len() == 4);
        assert!(system.defragmentation.is_none() && system.defragmented.is_none());
        assert!(system.background.is_none() && system.stages.len() == 3);
    }
}
