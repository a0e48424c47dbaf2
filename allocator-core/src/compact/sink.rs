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
use crate::placement::Need;

/// Pages that one step looks at for the lowest slab.
const PAGES_A_STEP: u32 = 4096;

/// Chunks that one step walks over.
const CHUNKS_A_STEP: usize = 512;

/// Blocks of a batch where the clock runs: each may look at many free runs.
const BATCH_IN_TIME: usize = 8;

/// Pages that are looked at, and chunks that are walked over, to find back to where the last step ended.
const BACK_MAX: u32 = 256;
const AGAIN_MAX: usize = 4096;

/// One step: looks for the lowest slab, or moves the next batch of blocks above it. False when it is done, or
/// no block has found room. A look at up to [`LOOKS_MAX`](crate::central::LOOKS_MAX) free runs a block.
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
    let Some((victims, end)) = next_batch(heap, pass, lowest, round.at) else { return false };
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
fn next_batch(heap: &Inner, pass: &Pass, lowest: u32, at: u32) -> Option<(Vec<Victim>, u32)> {
    let memory = heap.store.memory();
    let central = heap.store.central();
    let (_, hi) = central.bounds();
    let most = if pass.is_timed() { pass.batch().min(BATCH_IN_TIME) } else { pass.batch() };
    let mut at = find_back(heap, &central, lowest, at)?;
    let mut victims = Vec::new();
    for _ in 0..CHUNKS_A_STEP {
        if at >= hi || victims.len() >= most {
            break;
        }
        if let Some(run) = central.space.run_at(memory, at) {
            at = run.end();
            continue;
        }
        let (chunk, kind) = chunk::at(memory, at).expect("chunks and free runs tile the centre");
        if kind == Kind::Block {
            victims.extend(victim(heap, chunk));
        }
        at = chunk.end();
    }
    Some((victims, at))
}

/// Where the first chunk or free run from `at` on begins: since the last step others may have joined what was
/// there. Walks from the nearest free run or slab below it; `None` where all is so dense there that this would
/// take long.
fn find_back(heap: &Inner, central: &Central, lowest: u32, at: u32) -> Option<u32> {
    let memory = heap.store.memory();
    let pages = &heap.store.shared.pages;
    let (lo, hi) = central.bounds();
    let mut from = lo;
    if let Some(start) = central.space.previous_start(at) {
        from = start;
    }
    let page = pages.page();
    let mut slab = pages.start(at);
    for _ in 0..BACK_MAX {
        if slab <= from.max(lowest.saturating_sub(1)) {
            break;
        }
        if let Label::Slab { .. } = pages.label(slab)
            && chunk::at(memory, slab)
                .is_some_and(|(chunk, kind)| kind == Kind::Slab && chunk.len == page)
        {
            from = slab;
            break;
        }
        slab = slab.saturating_sub(page);
    }
    for _ in 0..AGAIN_MAX {
        if from >= at || from >= hi {
            return Some(from);
        }
        let run = central.space.run_at(memory, from);
        from = match run {
            Some(run) => run.end(),
            None => chunk::at(memory, from).expect("chunks and free runs tile the centre").0.end(),
        };
    }
    None
}
