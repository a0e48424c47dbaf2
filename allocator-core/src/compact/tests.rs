//! What passes do between their steps, which nobody sees from outside.

use super::round::{Round, Stage};
use super::*;
use crate::chunk;
use crate::handle::Handle;
use crate::heap::Heap;
use crate::placement::Need;
use crate::raw::os::OS_PAGE;
use crate::slab::{Slab, Slabs};
use crate::slot::Snapshot;
use crate::sync::atomic::Ordering;
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

#[test]
fn no_block_is_passed_over_between_two_steps() {
    const BYTES: usize = 3000;
    // More than one step walks over.
    const MOVES: usize = 520;
    let heap = heap(8 << 20, 4096);
    let cells = cells(&heap, 64);
    let small = many(&heap, 64, 600 * cells);
    let low: Vec<_> = std::iter::from_fn(|| put(&heap, BYTES)).collect();
    free(&heap, &small[..599 * cells]);
    let mut high: Vec<_> = std::iter::from_fn(|| put(&heap, BYTES)).collect();
    free(&heap, &low[low.len() / 2..]);
    let at = |block: &Handle| heap.read(*block).unwrap().as_ptr().addr();
    let slab = at(&small[599 * cells]);
    high.sort_unstable_by_key(at);
    assert!(high.len() > MOVES && at(&high[0]) > slab);
    let report = heap.defragment_with(Budget::unlimited().moves(MOVES as u64));
    let stage = heap.inner().mover.lock().unfinished().round.as_ref().map(|round| round.stage);
    assert_eq!((report.moves as usize, stage), (MOVES, Some(Stage::Sink)));
    let sunk = high.iter().take_while(|block| at(block) < slab).count();
    assert_eq!(sunk, MOVES, "one was left");
    heap.verify().unwrap();
}

/// The slabs of a heap with one stripe.
fn slabs(heap: &Heap) -> Vec<(bool, Slab)> {
    let all = |slabs: &mut Slabs| {
        slabs.iter().map(|(number, slab)| (slabs.is_closed(number), slab.clone())).collect()
    };
    seen::with_slabs(heap.inner(), 0, all).unwrap()
}

#[test]
fn slabs_with_pins_are_not_emptied_into_new_ones() {
    let heap = heap(4 << 20, 4096);
    let (above, cells) = (many(&heap, 128, 20 * cells(&heap, 128)), cells(&heap, 64));
    // Those that become free first allow for more.
    let sparse = many(&heap, 32, 10 * self::cells(&heap, 32));
    // Below where slabs will be in the end, and each less than two thirds full.
    let blocks = many(&heap, 64, 3 * cells);
    free(&heap, &above);
    free(&heap, sparse.iter().enumerate().filter(|(at, _)| at % 10 > 0).map(|it| it.1));
    let thirds = blocks.chunks(cells).flat_map(|slab| &slab[..cells / 3 + 1]);
    free(&heap, thirds.collect::<Vec<_>>());
    let class = heap.inner().store.shared.classes.class_for(64, 1).unwrap() as u8;
    let of_class = || slabs(&heap).iter().filter(|(_, slab)| slab.class == class).count();
    let before = of_class();
    let last = blocks.chunks(cells).map(|slab| heap.read(slab[cells - 1]).unwrap());
    let pins: Vec<_> = last.collect();
    heap.defragment();
    assert_eq!(of_class(), before, "none of them could be emptied");
    drop(pins);
    heap.verify().unwrap();
}

#[test]
fn no_slab_stays_closed_between_two_passes() {
    let heap = heap(4 << 20, 4096);
    let (low, cells) = (many(&heap, 3000, 300), cells(&heap, 64));
    let small = many(&heap, 64, 60 * cells);
    free(&heap, small[..40 * cells].iter().chain(&low[..200]));
    free(&heap, small[40 * cells..].iter().step_by(3));
    let (mut passes, mut raises) = (0, 0);
    loop {
        let report = heap.defragment_with(Budget::unlimited().moves(5));
        raises += usize::from(heap.inner().mover.lock().unfinished().raise.is_some());
        assert!(slabs(&heap).iter().all(|(is_closed, _)| !is_closed), "pass {passes}");
        passes += 1;
        if report.complete {
            break;
        }
    }
    assert!(passes > 20 && raises > 5, "{passes} passes, {raises} raises");
    heap.verify().unwrap();
}

#[test]
fn blocks_of_a_packed_slab_lie_in_its_first_cells() {
    let heap = heap(4 << 20, 64 << 10);
    let cells = cells(&heap, 512);
    // A class is rare at first.
    free(&heap, &many(&heap, 512, cells));
    for used in (1..cells / 2).step_by(3) {
        let blocks = many(&heap, 512, cells);
        // All but one lie there already; the last one is in the cell behind them.
        free(
            &heap,
            blocks
                .iter()
                .enumerate()
                .filter(|(at, _)| *at >= used - 1 && *at != used)
                .map(|it| it.1),
        );
        assert!(heap.defragment().complete);
        let packed: Vec<_> = slabs(&heap).into_iter().filter(|(_, slab)| slab.used > 0).collect();
        let [(_, slab)] = &packed[..] else { panic!("{packed:?}") };
        assert_eq!((slab.used as usize, slab.fresh), (used, slab.used));
        free(&heap, blocks[..used - 1].iter().chain([&blocks[used]]));
    }
}

#[test]
fn a_mover_that_made_room_says_that_it_is_done() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let builder = Heap::builder().capacity(1 << 20).page_size(4096).patience(PATIENCE);
    let heap = builder.stripes(1).thread_cache(0).build().unwrap();
    let blocks: Vec<_> = std::iter::from_fn(|| put(&heap, 3000)).collect();
    free(&heap, blocks.iter().step_by(2));
    let room = heap.make_room(20_000, 16);
    assert!(room.fits && room.defrag.moves > 0, "{room}");
    // Who finds no room beside a mover that has no window does not wait for that.
    let _mover = heap.inner().mover.lock();
    let start = std::time::Instant::now();
    assert!(put(&heap, 1 << 19).is_none());
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[test]
fn the_place_of_a_block_that_was_cut_is_given_back_and_the_block_stays() {
    let heap = heap(1 << 20, 4096);
    let (hole, block) = (put(&heap, 8000).unwrap(), heap.allocate_bytes(&[7; 6000]).unwrap());
    free(&heap, [&hole]);
    let inner = heap.inner();
    let memory = inner.store.memory();
    let word = inner.raw.word(block).unwrap();
    // Relaxed: the test is one thread.
    let offset = Snapshot(word.load(Ordering::Relaxed)).offset();
    let planned = slide::victim(inner, chunk::of_block(memory, offset)).unwrap();
    heap.resize(block, 3000).unwrap();
    let before = heap.stats();
    let (mover, mut pass) = (inner.mover.lock(), Pass::new(inner, Budget::unlimited()));
    let outcome = mover::move_all(inner, &mover, &mut pass, &[planned], |batch, places| {
        let victim = batch.victim(0);
        let need = Need { len: victim.room + chunk::HEADER, align: 1, skew: chunk::HEADER };
        let taken = inner.store.central().allocate_below(memory, need, offset).unwrap();
        places.push(chunk::init_block(memory, taken, victim.owner));
    });
    drop(mover);
    assert_eq!((outcome, pass.report.moves), (mover::Outcome::Done, 0));
    assert_eq!(pass.report.cancelled, 1);
    heap.verify().unwrap();
    assert_eq!(*heap.read(block).unwrap(), [7; 3000]);
    assert_eq!(heap.stats().free_bytes, before.free_bytes, "the place was kept");
}
