//! Policies against the oracle of [`Space`], and how full they can get a space.

use super::model::{Space, need, space_of};
use super::{AnyPlacement, FirstFit, FreeMemory, Link, Need, Placement, Run, Tlsf};
use proptest::prelude::*;

/// Granules of the spaces of property tests, and of their pages.
const GRANULES: u32 = 2000;
const PAGE: u32 = 64;
/// Steps of the longest program.
const STEPS: usize = if cfg!(miri) { 16 } else { 120 };

fn both(granules: u32) -> [AnyPlacement; 2] {
    [AnyPlacement::Tlsf(Tlsf::new()), AnyPlacement::FirstFit(FirstFit::new(granules, PAGE))]
}

/// All places of `need` in `run`, by trying each.
fn places(need: Need, run: Run) -> impl DoubleEndedIterator<Item = u32> {
    (run.start..run.end()).filter(move |start| {
        u64::from(*start) + u64::from(need.len) <= u64::from(run.end())
            && (u64::from(*start) + u64::from(need.skew)) % u64::from(need.align) == 0
    })
}

#[test]
fn places_agree_with_trying_each_start() {
    let needs = || {
        let lens = [1, 2, 5, 31, 40, 41].into_iter();
        let aligns = lens.flat_map(|len| [0, 1, 3, 6, 31].map(|log2| (len, 1 << log2)));
        aligns.flat_map(|(len, align)| [0, 1, 2].map(|skew| Need { len, align, skew }))
    };
    for start in [0, 1, 7, 64, u32::MAX - 40] {
        for run in [1, 2, 16, 31, 40].map(|len| Run { start, len }) {
            for need in needs() {
                assert_eq!(need.place_low(run), places(need, run).next(), "{need:?} in {run:?}");
                assert_eq!(need.place_high(run), places(need, run).last(), "{need:?} in {run:?}");
            }
        }
    }
}

#[test]
fn the_largest_needs_do_not_overflow() {
    let all = Run { start: 1, len: u32::MAX - 1 };
    assert_eq!(need(u32::MAX - 1).place_low(all), Some(1));
    assert_eq!(need(u32::MAX - 1).place_high(all), Some(1));
    assert_eq!(need(u32::MAX).place_low(all), None);
    assert_eq!(need(u32::MAX).place_high(all), None);
    let wide = Need { len: 1, align: 1 << 31, skew: 0 };
    assert_eq!(wide.place_low(all), Some(1 << 31));
    assert_eq!(wide.place_high(all), Some(1 << 31));
    let wide = Need { skew: 1, ..wide };
    assert_eq!(wide.place_low(all), Some((1 << 31) - 1));
    assert_eq!(wide.place_high(all), Some((1 << 31) - 1));
}

#[test]
fn an_empty_index_has_nothing() {
    for policy in both(GRANULES) {
        let mut space = space_of(2, policy);
        assert_eq!(space.allocate(need(1), false), Some(Run { start: 1, len: 1 }));
        assert_eq!(space.allocate(need(1), false), None);
        assert_eq!(space.policy.largest(&space.memory, usize::MAX), 0);
        space.check();
        space.free(0);
        space.check();
    }
}

#[test]
fn all_of_a_space_can_be_taken_at_once() {
    for policy in both(GRANULES) {
        let mut space = space_of(GRANULES, policy);
        assert_eq!(space.allocate(need(GRANULES), false), None);
        assert!(space.allocate(need(GRANULES - 1), false).is_some());
        space.check();
    }
}

/// Holes of `len`, kept apart by single granules, from the start of the space on; the rest of
/// the space is taken.
fn holes<P: Placement>(policy: P, lens: impl IntoIterator<Item = u32>) -> Space<P> {
    let mut space = space_of(GRANULES, policy);
    let mut starts = Vec::new();
    for len in lens {
        starts.push(space.allocate(need(len), false).expect("room for a hole").start);
        space.allocate(need(1), false).expect("room for a wall");
    }
    let rest = space.policy.largest(&space.memory, usize::MAX);
    space.allocate(need(rest), false).expect("the rest is one run");
    for start in starts {
        let hole = space.live.iter().position(|run| run.start == start);
        space.free(hole.expect("a hole is live at first"));
    }
    space.check();
    space
}

#[test]
fn tlsf_reuses_a_hole_of_the_same_length_before_it_splits() {
    // 200 and 207 share a bin of width 8, so rounding up would pass both by.
    let mut space = holes(Tlsf::new(), [300, 207, 200, 400]);
    assert_eq!(space.allocate(need(200), false).map(|run| run.start), Some(1 + 301 + 208));
    assert_eq!(space.allocate(need(200), false).map(|run| run.start), Some(1 + 301));
    assert_eq!(space.allocate(need(200), false).map(|run| run.start), Some(1));
}

#[test]
fn tlsf_takes_the_shortest_of_a_few_that_fit() {
    // One bin holds 136 to 143, and 137 is asked for.
    let mut space = holes(Tlsf::new(), [142, 139, 143, 136]);
    assert_eq!(space.allocate(need(137), false).map(|run| run.start), Some(1 + 143));
}

#[test]
fn tlsf_uses_an_aligned_hole_before_it_splits_a_run_that_is_sure_to_fit() {
    // Alignment may cost 31, so 40 is not sure; but the hole of 40 starts at 32. The hole of 33
    // is in the bin of 32, and has no aligned place.
    let mut space = holes(Tlsf::new(), [30, 40, 33, 500]);
    let aligned = Need { len: 32, align: 32, skew: 0 };
    assert_eq!(space.allocate(aligned, false), Some(Run { start: 32, len: 32 }));
}

#[test]
fn tlsf_finds_the_one_run_that_fits_behind_many_that_do_not() {
    // The list is last in, first out: the one that fits is behind the others.
    let mut space = holes(Tlsf::new(), std::iter::once(135).chain([130; 9]));
    assert_eq!(space.allocate(need(135), false), Some(Run { start: 1, len: 135 }));
    assert_eq!(space.allocate(need(131), false), None);
    assert!(space.allocate(need(130), false).is_some());
}

#[test]
fn tlsf_finds_an_aligned_place_in_a_run_shorter_than_the_alignment() {
    // Of these holes only the one at 128 is aligned, and it is alone in no bin of its own.
    let mut space = holes(Tlsf::new(), [5, 5, 5, 108, 5, 5]);
    let aligned = Need { len: 5, align: 128, skew: 0 };
    assert_eq!(space.allocate(aligned, false), Some(Run { start: 128, len: 5 }));
    assert_eq!(space.allocate(aligned, false), None);
}

#[test]
fn checks_notice_what_is_wrong() {
    for policy in both(GRANULES) {
        let mut space = holes(policy, [10, 20, 30]);
        let runs: Vec<Run> = space.free_runs().collect();
        let check =
            |space: &Space<AnyPlacement>, runs: &[Run]| space.policy.check(&space.memory, runs);
        assert_eq!(check(&space, &runs), Ok(()));
        assert!(check(&space, &runs[..2]).is_err(), "a run too many in the index");
        let moved = [runs[0], Run { start: runs[1].start + 1, len: 20 }, runs[2]];
        assert!(check(&space, &moved).is_err(), "a run elsewhere");
        let longer = [runs[0], runs[1], Run { len: 31, ..runs[2] }];
        assert!(check(&space, &longer).is_err(), "a run of another length");

        space.policy.remove(&mut space.memory, runs[2]);
        assert!(check(&space, &runs).is_err(), "a run too few in the index");
    }

    let mut space = holes(Tlsf::new(), [10, 10, 10]);
    let runs: Vec<Run> = space.free_runs().collect();
    space.memory.set_link(runs[0].start, Link::Next, runs[2].start);
    let error = space.policy.check(&space.memory, &runs).expect_err("a list that is a ring");
    assert!(error.contains("twice"), "{error}");
    space.memory.set_link(runs[0].start, Link::Next, 0);
    space.memory.set_link(runs[0].start, Link::Prev, 0);
    let error = space.policy.check(&space.memory, &runs).expect_err("a broken back link");
    assert!(error.contains("point back"), "{error}");
}

#[test]
fn the_last_pages_of_the_largest_heap_are_found() {
    let granules = if cfg!(miri) { 1 << 20 } else { u32::MAX };
    let all = Run { start: granules - 5000, len: 5000 };
    let mut space = Space::new(all, FirstFit::new(granules, 4096));
    let aligned = Need { len: 904, align: 4096, skew: 0 };
    let start = aligned.place_low(all).expect("an aligned place within 5000");
    assert_eq!(space.allocate(aligned, false), Some(Run { start, len: 904 }));
    space.check();
}

/// A step of a program: a need with a choice of end, or the number of a block to free.
#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate(Need, bool),
    Free(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![4 => 1..40_u32, 2 => 1..300_u32, 1 => 1..GRANULES];
    let align = prop_oneof![3 => Just(0), 2 => 0..4_u32, 1 => 0..11_u32];
    let allocate =
        (len, align, 0..2_u32, any::<bool>()).prop_map(|(len, align_log2, skew, high)| {
            Step::Allocate(Need { len, align: 1 << align_log2, skew }, high)
        });
    prop_oneof![allocate, any::<usize>().prop_map(Step::Free)]
}

/// Runs a program, with the oracle asked before and the checks made after each step.
fn run_program<P: Placement>(mut space: Space<P>, program: &[Step], lowest: bool) {
    for step in program {
        match *step {
            Step::Allocate(need, high) => {
                let fits = space.free_runs().find(|run| need.place_low(*run).is_some());
                let found = space.policy.find(&space.memory, need);
                assert_eq!(found.is_some(), fits.is_some(), "{need:?}");
                if lowest {
                    assert_eq!(found, fits, "{need:?}");
                }
                let block = space.allocate(need, high);
                assert_eq!(block.is_some(), fits.is_some());
                if let Some(start) = block.map(|block| block.start) {
                    assert_eq!((start + need.skew) % need.align, 0);
                }
            }
            Step::Free(index) if !space.live.is_empty() => space.free(index % space.live.len()),
            Step::Free(_) => {}
        }
        space.check();
    }
    space.check_tiling();
    while !space.live.is_empty() {
        space.free(0);
    }
    space.check();
    assert_eq!(space.free_runs().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn tlsf_agrees_with_the_oracle(program in prop::collection::vec(step(), 1..STEPS)) {
        run_program(space_of(GRANULES, AnyPlacement::Tlsf(Tlsf::new())), &program, false);
    }

    #[test]
    fn tlsf_agrees_with_the_oracle_at_the_end_of_offsets(
        program in prop::collection::vec(step(), 1..STEPS),
    ) {
        let all = Run { start: u32::MAX - GRANULES, len: GRANULES };
        run_program(Space::new(all, Tlsf::new()), &program, false);
    }

    #[test]
    fn first_fit_takes_the_lowest_place(program in prop::collection::vec(step(), 1..STEPS)) {
        let policy = AnyPlacement::FirstFit(FirstFit::new(GRANULES, PAGE));
        run_program(space_of(GRANULES, policy), &program, true);
    }

    #[test]
    fn first_fit_takes_the_lowest_place_at_the_end_of_offsets(
        program in prop::collection::vec(step(), 1..STEPS),
    ) {
        let all = Run { start: u32::MAX - GRANULES, len: GRANULES };
        run_program(Space::new(all, FirstFit::new(u32::MAX, 1 << 24)), &program, true);
    }
}
