//! Blocks with chunks of their own that lie above the lowest slab move into free runs below it, so that
//! slabs never lie between blocks for good.

use super::mover::{Mover, Outcome, Victim, move_all};
use super::pass::Pass;
use super::round::Round;
use super::slide::victim;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::heap::Inner;
use crate::pages::Label;
use crate::placement::{Need, Run};

/// Pages that one step looks at for the lowest slab.
const PAGES_A_STEP: u32 = 4096;

/// Slabs, blocks and free runs that one step walks over, without and with a clock.
const PIECES_A_STEP: usize = 512;
const PIECES_IN_TIME: usize = 128;

/// Blocks of a batch where the clock runs: each may look at many free runs, and be the first to write to two pages.
const BATCH_IN_TIME: usize = 4;

/// Pages that are looked at, and pieces that are walked over, to find back to where the last step ended, without and with a
/// clock.
const BACK_MAX: u32 = 256;
const AGAIN_MAX: usize = 4096;
const AGAIN_IN_TIME: usize = 1024;

/// One step: looks for the lowest slab, or moves the next batch of blocks above it. False when it is done, or
/// a block has found no room. A look at up to [`LOOKS_MAX`](crate::central::LOOKS_MAX) free runs a block.
pub(super) fn sink(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, round: &mut Round) -> bool {
    let pages = &heap.store.shared.pages;
    let (lo, hi) = heap.store.memory().bounds();
    let Some(lowest) = round.lowest else {
        let from = round.at.max(lo);
        let to = hi.min(pages.start(from).saturating_add(PAGES_A_STEP * pages.page()));
        round.lowest = pages.first_held(from, to);
        round.at = round.lowest.unwrap_or(to);
        return round.at < hi;
    };
    let (victims, end) = next_batch(heap, pass, lowest, round.at);
    round.at = end;
    let before = pass.report.moves;
    let outcome = move_all(heap, mover, pass, &victims, |batch, places| {
        let memory = heap.store.memory();
        let mut central = heap.store.central();
        for number in 0..batch.len() {
            let Victim { room, owner, .. } = batch.victim(number);
            let len = room + chunk::HEADER;
            let need = Need { len, align: batch.align(number), skew: chunk::HEADER };
            let Some(taken) = central.allocate_below(memory, need, lowest) else { return };
            places.push(chunk::init_block(memory, taken, owner));
        }
    });
    pass.report.useful_moves += pass.report.moves - before;
    if outcome == Outcome::Over {
        // Those that were left are looked at again.
        round.at = victims.first().map_or(end, |victim| victim.offset - chunk::HEADER);
    }
    outcome != Outcome::NoRoom && round.at < hi
}

/// The next blocks from `at` on, and where to go on behind them.
fn next_batch(heap: &Inner, pass: &Pass, lowest: u32, at: u32) -> (Vec<Victim>, u32) {
    let central = heap.store.central();
    let (_, hi) = central.bounds();
    let (most, pieces, again) = if pass.is_timed() {
        (pass.batch().min(BATCH_IN_TIME), PIECES_IN_TIME, AGAIN_IN_TIME)
    } else {
        (pass.batch(), PIECES_A_STEP, AGAIN_MAX)
    };
    let mut at = find_back(heap, &central, lowest, at, again);
    let mut victims = Vec::new();
    for _ in 0..pieces {
        if at >= hi || victims.len() >= most {
            break;
        }
        let (end, block) = piece(heap, &central, at);
        victims.extend(block.and_then(|chunk| victim(heap, chunk)));
        at = end;
    }
    (victims, at)
}

/// The end of what begins at `at`, a free run or a chunk, and the chunk where it is that of a block. Of a slab only the label
/// is looked at.
fn piece(heap: &Inner, central: &Central, at: u32) -> (u32, Option<Run>) {
    let memory = heap.store.memory();
    if is_slab(heap, at) {
        return (at + heap.store.shared.pages.page(), None);
    }
    if let Some(run) = central.space.run_at(memory, at) {
        return (run.end(), None);
    }
    let (chunk, kind) = chunk::at(memory, at).expect("chunks and free runs tile the centre");
    (chunk.end(), (kind == Kind::Block).then_some(chunk))
}

/// Whether a slab begins at `at`. Under the lock of the centre, which its page would be given to with another label.
fn is_slab(heap: &Inner, at: u32) -> bool {
    let pages = &heap.store.shared.pages;
    pages.start(at) == at && matches!(pages.label(at), Label::Slab { .. })
}

/// Where the first chunk or free run from `at` on begins: since the last step others may have joined what was
/// there. Walks over `again` pieces at most, from the nearest free run or slab below it. Where all is so dense there that this
/// would take longer, the next free run or slab above, or the end: what lies between is passed over.
fn find_back(heap: &Inner, central: &Central, lowest: u32, at: u32, again: usize) -> u32 {
    let pages = &heap.store.shared.pages;
    let (lo, hi) = central.bounds();
    let mut from = central.space.previous_start(at).unwrap_or(lo);
    let down_to = from.max(lowest.saturating_sub(1));
    let below = (0..BACK_MAX).map(|page| pages.start(at).saturating_sub(page * pages.page()));
    if let Some(slab) = below.take_while(|page| *page > down_to).find(|page| is_slab(heap, *page)) {
        from = slab;
    }
    for _ in 0..again {
        if from >= at || from >= hi {
            return from;
        }
        from = piece(heap, central, from).0;
    }
    let run = central.space.next_run(heap.store.memory(), at, hi).map_or(hi, |run| run.start);
    let above = (1..=BACK_MAX).map(|page| pages.start(at).saturating_add(page * pages.page()));
    above.take_while(|page| *page < run).find(|page| is_slab(heap, *page)).unwrap_or(run)
}
