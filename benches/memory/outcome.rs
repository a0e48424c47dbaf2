//! What came out for one allocator in one scenario.

use crate::options::Allocator;
use benches::footprint::report::{
    Account, Background, Checkpoint, Defragmentation, Refusal, Report,
};
use benches::footprint::scenario::Scenario;
use benches::statistics::Summary;

/// The reports of all rounds; figures are their medians.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) allocator: Allocator,
    /// One at least.
    pub(crate) reports: Vec<Report>,
}

impl Outcome {
    /// The median of a figure that all reports have.
    fn median(&self, figure: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<_>> = self.reports.iter().map(figure).collect();
        values.filter(|values| !values.is_empty()).map(|values| Summary::of(&values).median)
    }

    pub(crate) fn elapsed_s(&self) -> f64 {
        self.median(|report| Some(report.elapsed_s)).unwrap_or(0.0)
    }

    pub(crate) fn deleted_factor(&self) -> Option<f64> {
        self.median(|report| report.deleted.as_ref().map(Checkpoint::factor))
    }

    pub(crate) fn defragmented_factor(&self) -> Option<f64> {
        self.median(|report| report.defragmented.as_ref().map(Checkpoint::factor))
    }

    pub(crate) fn end_factor(&self) -> Option<f64> {
        self.median(|report| report.end.as_ref().map(Checkpoint::factor))
    }

    pub(crate) fn settled_factor(&self) -> Option<f64> {
        self.median(|report| report.settled.as_ref().map(Checkpoint::factor))
    }

    pub(crate) fn peak_factor(&self) -> Option<f64> {
        self.median(Report::peak_factor)
    }

    pub(crate) fn efficiency(&self) -> Option<f64> {
        self.median(|report| report.efficiency)
    }

    /// Of the defragmentation.
    fn of_it(&self, figure: impl Fn(&Defragmentation) -> f64) -> Option<f64> {
        self.median(|report| report.defragmentation.as_ref().map(&figure))
    }

    /// The highest resident size of a defragmentation over that at its start: the worst, not the
    /// median.
    pub(crate) fn peak_ratio(&self) -> Option<f64> {
        let ratios = self.reports.iter().filter_map(|report| report.defragmentation.as_ref());
        ratios.map(Defragmentation::peak_ratio).reduce(f64::max)
    }

    pub(crate) fn cpu_s(&self) -> Option<f64> {
        self.of_it(|it| it.cpu_s)
    }

    pub(crate) fn defragmentation_s(&self) -> Option<f64> {
        self.of_it(|it| it.elapsed_s)
    }

    pub(crate) fn moves(&self) -> Option<f64> {
        self.of_it(|it| it.moves as f64)
    }

    /// What share of the capacity peers could use with the same steps: medians.
    pub(crate) fn peers(&self) -> Vec<(&str, f64)> {
        let of = |report: &Report, name| {
            let peer = report.peers.iter().find(|(other, _)| other == name);
            peer.map(|(_, share)| *share)
        };
        let names = self.reports.first().into_iter().flat_map(|report| &report.peers);
        names
            .filter_map(|(name, _)| Some((name.as_str(), self.median(|report| of(report, name))?)))
            .collect()
    }

    /// What a full heap refused last.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.reports.last().and_then(|report| report.refusal)
    }

    /// What the background defragmenter did last.
    pub(crate) fn background(&self) -> Option<Background> {
        self.reports.last().and_then(|report| report.background)
    }

    /// The last checkpoints, with their names.
    pub(crate) fn checkpoints(&self) -> Vec<(&'static str, Checkpoint)> {
        let last = self.reports.last();
        let stages = [
            ("deleted", last.and_then(|report| report.deleted)),
            ("defragmented", last.and_then(|report| report.defragmented)),
            ("end", last.and_then(|report| report.end)),
            ("settled", last.and_then(|report| report.settled)),
        ];
        stages.into_iter().filter_map(|(name, stage)| Some((name, stage?))).collect()
    }
}

/// Where the bytes of a checkpoint of ours are, each over live payload. They add up to the factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    /// What was asked for: 1.
    pub(crate) payload: f64,
    /// Rounding of blocks, and their headers where they have chunks of their own.
    pub(crate) rounding: f64,
    /// Retired blocks, and blocks that threads keep.
    pub(crate) kept: f64,
    /// Free cells of slabs.
    pub(crate) cells: f64,
    /// Headers of slabs, the ends of their pages, and free runs that are resident.
    pub(crate) rest: f64,
    /// Tables and all else outside the buffer.
    pub(crate) outside: f64,
}

impl Shares {
    pub(crate) fn of(checkpoint: &Checkpoint, account: &Account) -> Self {
        let share = |bytes: f64| bytes / checkpoint.live_bytes as f64;
        let kept = (account.pending_bytes + account.cached_bytes) as f64;
        let live = checkpoint.live_bytes as f64;
        let buffer = account.buffer_bytes as f64;
        let in_use = (account.block_bytes - account.pending_bytes) as f64;
        // Cells of a new page are not resident before they are used.
        let cells = (account.free_cell_bytes as f64).min(buffer - in_use - kept);
        Self {
            payload: share(live),
            rounding: share(in_use - live),
            kept: share(kept),
            cells: share(cells),
            rest: share(buffer - in_use - kept - cells),
            outside: share(account.outside_bytes as f64),
        }
    }
}

/// An outcome for the tests.
#[cfg(test)]
pub(crate) fn example(scenario: Scenario, allocator: Allocator) -> Outcome {
    use benches::footprint::report::Point;
    let account = Account {
        block_bytes: 130,
        pending_bytes: 10,
        cached_bytes: 5,
        free_cell_bytes: 20,
        buffer_bytes: 160,
        outside_bytes: 40,
    };
    let is_ours = allocator == Allocator::Ours;
    let checkpoint = Checkpoint {
        grown_bytes: 200,
        live_bytes: 100,
        live_blocks: 10,
        account: is_ours.then_some(account),
    };
    let defragmentation = Defragmentation {
        start_bytes: 100,
        peak_bytes: 120,
        cpu_s: 0.1,
        elapsed_s: 0.2,
        moves: 7,
        moved_bytes: 70,
        complete: true,
    };
    let is_filled = !scenario.fits_any_allocator();
    let has_end = scenario <= Scenario::W8;
    let report = Report {
        elapsed_s: 2.0,
        deleted: (!is_filled).then_some(checkpoint),
        defragmented: (is_ours && !is_filled).then_some(checkpoint),
        end: has_end.then_some(checkpoint),
        settled: has_end.then_some(checkpoint),
        peak_bytes: 300,
        peak_live_bytes: if is_filled { 0 } else { 200 },
        defragmentation: (is_ours && !is_filled).then_some(defragmentation),
        background: (is_ours && has_end).then(Background::default),
        efficiency: is_filled.then_some(0.98),
        peers: if is_filled { vec![("rlsf".to_owned(), 0.75)] } else { Vec::new() },
        refusal: is_filled.then(Refusal::default),
        curve: vec![Point { at_s: 0.0, bytes: 1 << 20 }, Point { at_s: 1.0, bytes: 2 << 20 }],
        stages: vec![0.5, 0.6, 0.8, 1.0],
    };
    Outcome { scenario, allocator, reports: vec![report] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_but_the_peak_is_the_worst() {
        let mut outcome = example(Scenario::W3, Allocator::Ours);
        let mut other = outcome.reports[0].clone();
        other.elapsed_s = 4.0;
        other.defragmentation.as_mut().unwrap().peak_bytes = 150;
        outcome.reports.push(other);
        assert_eq!((outcome.elapsed_s(), outcome.peak_ratio()), (3.0, Some(1.5)));
        assert_eq!((outcome.end_factor(), outcome.peak_factor()), (Some(2.0), Some(1.5)));
        assert_eq!(outcome.efficiency(), None);
    }

    #[test]
    fn shares_add_up() {
        let (_, checkpoint) = example(Scenario::W3, Allocator::Ours).checkpoints()[0];
        let shares = Shares::of(&checkpoint, &checkpoint.account.unwrap());
        let Shares { payload, rounding, kept, cells, rest, outside } = shares;
        assert_eq!((rounding, kept, outside), (0.2, 0.15, 0.4));
        assert!(
            (payload + rounding + kept + cells + rest + outside - checkpoint.factor()).abs() < 1e-9
        );
    }
}
