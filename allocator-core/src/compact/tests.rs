//! What passes do between their steps, which nobody sees from outside.

use super::round::{Round, Stage};
use super::*;
use crate::handle::Handle;
use crate::heap::Heap;
use crate::raw::os::OS_PAGE;
use core::alloc::Layout;
use core::time::Duration;

/// Steps in which anything here is done.
const STEPS_MAX: usize = 100_000;

fn heap(capacity: usize, page: usize) -> Heap {
    let builder = Heap::builder().capacity(capacity).page_size(page);
    builder.stripes(1).thread_cache(0).build().unwrap()
}

fn put(heap: &Heap, bytes: usize) -> Option<Handle> {
    heap.allocate(Layout::from_size_align(bytes, 8).unwrap()).ok()
}

fn many(heap: &Heap, bytes: usize, count: usize) -> Vec<Handle> {
    (0..count).map(|_| put(heap, bytes).unwrap()).collect()
}

fn free<'h>(heap: &Heap, blocks: impl IntoIterator<Item = &'h Handle>) {
    blocks.into_iter().for_each(|block| heap.deallocate(*block).unwrap());
    heap.flush();
    heap.inner().store.drain();
}

/// Blocks of `bytes` that fill a slab.
fn cells(heap: &Heap, bytes: usize) -> usize {
    let classes = heap.inner().store.shared.classes;
    classes.geometry(classes.class_for(bytes, 1).unwrap()).cells as usize
}

/// One step, and what of the round it leaves.
fn step_of<R>(heap: &Heap, look: impl FnOnce(&Round) -> R) -> (DefragReport, Option<R>) {
    let report = heap.defragment_with(Budget::unlimited().time(Duration::from_nanos(1)));
    let mut mover = heap.inner().mover.lock();
    let round = mover.unfinished().round.as_ref().map(look);
    (report, round)
}

#[test]
fn slabs_that_others_have_filled_since_the_survey_are_left() {
    const BYTES: usize = 128;
    let heap = heap(64 << 20, 64 << 10);
    let (sparse, cells) = (many(&heap, 64, 100 * cells(&heap, 64)), cells(&heap, BYTES));
    // A class is rare at first.
    let blocks = many(&heap, BYTES, 41 * cells);
    let above = many(&heap, 512, 5000);
    free(&heap, sparse.iter().enumerate().filter(|(number, _)| number % 10 > 0).map(|it| it.1));
    let half: Vec<_> = blocks.iter().skip(cells).step_by(2).collect();
    free(&heap, half.iter().copied());
    let at = |round: &Round| (round.stage, round.at as usize);
    let begun =
        (0..STEPS_MAX).any(|_| matches!(step_of(&heap, at).1, Some((Stage::Consolidate, _))));
    assert!(begun);
    // More than there is room for: none of the old slabs has any left.
    many(&heap, BYTES, half.len() + cells);
    let class = heap.inner().store.shared.classes.class_for(BYTES, 1).unwrap();
    let (mut steps, mut moves) = (0, 0);
    for _ in 0..STEPS_MAX {
        match step_of(&heap, at) {
            (_, Some((Stage::Consolidate, at))) if at < class => {}
            (report, Some((Stage::Consolidate, at))) if at == class => {
                steps += 1;
                moves += report.moves;
            }
            _ => break,
        }
    }
    // Each of those there was no need for was looked at.
    assert!(steps > 10, "{steps}");
    assert_eq!(moves, 0);
    drop(above);
    heap.verify().unwrap();
}

#[test]
fn blocks_behind_many_that_stay_are_sunk_where_the_clock_runs_too() {
    const BYTES: usize = 3000;
    let heap = heap(8 << 20, 4096);
    let cells = cells(&heap, 64);
    let small = many(&heap, 64, 600 * cells);
    let low: Vec<_> = std::iter::from_fn(|| put(&heap, BYTES)).collect();
    // All slabs but the lowest are gone, and blocks above it.
    free(&heap, &small[..599 * cells]);
    let high: Vec<_> = std::iter::from_fn(|| put(&heap, BYTES)).collect();
    assert!(high.len() > 720, "{}", high.len());
    let pins: Vec<_> = high[..700].iter().map(|block| heap.read(*block).unwrap()).collect();
    free(&heap, &low[..low.len() / 2]);
    assert!((0..STEPS_MAX).any(|_| step_of(&heap, |_| ()).0.complete));
    assert_eq!(heap.defragment().moves, 0);
    drop(pins);
    heap.verify().unwrap();
}

#[test]
fn large_and_small_blocks_in_turn_are_sunk_into_large_and_small_holes() {
    const PIN: usize = 1504;
    let heap = heap(4 << 20, 4096);
    let (sizes, cells) = ([2000, 6000], cells(&heap, 64));
    let small = many(&heap, 64, 60 * cells);
    let (mut pins, mut holes) = (Vec::new(), Vec::new());
    for size in sizes {
        for _ in 0..8 {
            holes.push(put(&heap, size).unwrap());
            pins.push(put(&heap, PIN).unwrap());
        }
    }
    let fill = |pins: &mut Vec<Handle>| {
        for size in [100_000, 20_000, 4000, PIN] {
            pins.extend(std::iter::from_fn(|| put(&heap, size)));
        }
    };
    fill(&mut pins);
    let bottom = pins.len();
    free(&heap, &small[..59 * cells]);
    let in_turn = [6000, 2000].into_iter().cycle().take(16);
    let high: Vec<_> = in_turn.map(|size| put(&heap, size).unwrap()).collect();
    fill(&mut pins);
    free(&heap, &holes);
    let held: Vec<_> = pins.iter().map(|block| heap.read(*block).unwrap()).collect();
    let at = |block: &Handle| heap.read(*block).unwrap().as_ptr().addr();
    let limit = pins[..bottom].iter().map(at).max().unwrap();
    assert!(high.iter().all(|block| at(block) > limit));
    assert!(heap.defragment().complete);
    assert!(high.iter().all(|block| at(block) < limit));
    drop(held);
    heap.verify().unwrap();
}

#[test]
fn nearly_every_block_of_slabs_is_moved_once_at_most() {
    let heap = heap(64 << 20, 64 << 10);
    let below = many(&heap, 3000, 4000);
    let blocks = many(&heap, 64, 200 * cells(&heap, 64));
    let gone = blocks.iter().enumerate().filter(|(number, _)| number % 4 > 0).map(|it| it.1);
    free(&heap, gone);
    free(&heap, &below);
    let report = heap.defragment();
    let live = blocks.len().div_ceil(4) as u64;
    assert!(report.complete && report.moves > live / 2, "{report}");
    assert!(report.moves <= live + live / 10, "{} moves of {live}", report.moves);
    assert!(report.useful_moves * 10 >= report.moves * 9, "{report}");
    heap.verify().unwrap();
}

#[test]
fn what_is_committed_never_exceeds_that_of_the_start() {
    let heap = heap(32 << 20, 64 << 10);
    let mut rest = Vec::new();
    for bytes in [64, 136, 264, 520, 1000, 2000, 5000] {
        let blocks = many(&heap, bytes, (2 << 20) / bytes);
        free(&heap, blocks.iter().enumerate().filter(|(at, _)| at % 3 > 0).map(|it| it.1));
        rest.extend(blocks.into_iter().step_by(3));
    }
    let committed = || heap.inner().store.central().committed();
    let start = committed();
    let mut most = 0;
    let is_complete = |_| {
        let (report, _) = step_of(&heap, |_| ());
        most = most.max(committed());
        report.complete
    };
    assert!((0..STEPS_MAX).any(is_complete));
    let end = committed();
    // But for the tags of free runs.
    assert!(most <= start + 4 * OS_PAGE, "{most} of {start}");
    assert!(end < start * 2 / 3, "{end} of {start}");
    free(&heap, &rest);
    heap.verify().unwrap();
}

#[test]
fn a_pass_ends_early_by_what_took_longest_of_late() {
    const TIME: Duration = Duration::from_millis(80);
    let heap = heap(1 << 20, 64 << 10);
    let mut pass = Pass::new(heap.inner(), Budget::unlimited().time(TIME));
    pass.expect_steps_of(10 * TIME);
    pass.note_step();
    assert!(!pass.is_late(), "an eighth at most");
    // Not until its end.
    std::thread::sleep(TIME * 15 / 16);
    assert!(pass.is_late());
    assert!(pass.longest() >= 5 * TIME, "half of what was");
}
