//! The costs that may depend on the number of live objects: get, insert, remove, one move.

use crate::filled::{Contestant, Filled, Windows};
use crate::options::Plan;
use crate::sparse::{Defragmented, Sparse};
use crate::stores::{Boxes, Object};
use crate::sweep::{Step, Sweep, turns};
use anyhow::{Context, Result};
use benches::progress::Progress;
use slotmap::SlotMap;
use typed_pool::{Heap, Pool};

const OBJECTS: &str = "objects";

/// Bytes of the heaps' pages while moves are measured: with the usual 64 KiB, 1,000 objects would not
/// fill two.
const MOVE_PAGE: usize = 16 << 10;

/// Steps of progress that [`sweeps`] reports.
pub(crate) fn work(plan: &Plan) -> usize {
    2 * plan.objects.len()
}

/// All steps of the four operations.
pub(crate) fn sweeps(plan: &Plan, progress: &Progress) -> Result<Vec<Sweep>> {
    let get = Sweep::new("get", OBJECTS, 2, &["one guard", "own guard", "SlotMap", "Vec<Box>"]);
    let insert = Sweep::new("insert", OBJECTS, 1, &["pool", "SlotMap", "Vec<Box>"]);
    let remove = Sweep::new("remove", OBJECTS, 1, &["pool", "SlotMap", "Vec<Box>"]);
    let moves = Sweep::new("move", OBJECTS, 1, &["pool", "bare copy"]);
    let mut sweeps = [get, insert, remove, moves];
    for objects in &plan.objects {
        progress.say(format_args!("{objects} objects: get, insert, remove"));
        let steps = step(plan, *objects).with_context(|| format!("{objects} objects"))?;
        for (sweep, step) in sweeps.iter_mut().zip(steps) {
            sweep.steps.push(step);
        }
        progress.done();
        progress.say(format_args!("{objects} objects: moves"));
        let moves = moves_step(plan, *objects);
        sweeps[3].steps.push(moves.with_context(|| format!("moves of {objects} objects"))?);
        progress.done();
    }
    Ok(sweeps.into())
}

/// A heap for so many objects of 64 bytes. Not larger than needed by much, and not by little.
fn heap(objects: u32, page_size: usize) -> Result<Heap> {
    let bytes = (objects as usize * 2 * size_of::<Object>()).max(64 << 20);
    Ok(Heap::builder().capacity(bytes).page_size(page_size).huge_pages(true).build()?)
}

/// Get, insert and remove at one number of live objects.
fn step(plan: &Plan, objects: u32) -> Result<[Step; 3]> {
    let heap = heap(objects, 64 << 10)?;
    let pool = Pool::new(&heap)?;
    let mut map = SlotMap::new();
    map.reserve(objects as usize);
    let mut contestants: [Box<dyn Contestant + '_>; 3] = [
        Box::new(Filled::new(&pool, objects)),
        Box::new(Filled::new(map, objects)),
        Box::new(Filled::new(Boxes::default(), objects)),
    ];
    let mut windows = Windows::new(objects);
    let [mut get, mut insert, mut remove] = [4, 3, 3].map(|count| Step::new(objects.into(), count));
    // The round before the first warms up.
    for round in 0..=plan.rounds {
        for turn in turns(round, contestants.len()) {
            let contestant = &mut contestants[turn];
            // Only the pool, the first one, has two ways.
            let first = if turn == 0 { 0 } else { turn + 1 };
            for way in turns(round, contestant.ways()) {
                let read = contestant.read(way, &mut windows, plan.reads)?;
                get.samples[first + way].push(read);
            }
            let replaced = contestant.replace(&mut windows, plan.replacements)?;
            insert.samples[turn].push(replaced.insert);
            remove.samples[turn].push(replaced.remove);
        }
    }
    for contestant in &contestants {
        contestant.verify()?;
    }
    heap.verify()?;
    let mut steps = [get, insert, remove];
    for samples in steps.iter_mut().flat_map(|step| &mut step.samples) {
        samples.remove(0);
    }
    Ok(steps)
}

/// Moves, while so many objects are alive: half as many again are put in and taken out at random,
/// then the heap is defragmented; as often as it takes for enough moves.
fn moves_step(plan: &Plan, objects: u32) -> Result<Step> {
    let more = objects / 2;
    let heap = heap(objects + more, MOVE_PAGE)?;
    let pool = Pool::<Object>::new(&heap)?;
    let mut sparse = Sparse::new(&pool, objects);
    let mut step = Step::new(objects.into(), 2);
    let mut seed = 0;
    for _ in 0..plan.move_rounds {
        let mut round = Defragmented::default();
        while round.moves < plan.moves {
            seed += 1;
            sparse.insert_more(more);
            sparse.thin_out(more as usize, seed)?;
            round.add(&sparse.defragment()?);
        }
        step.samples[0].push(round.move_ns());
        step.samples[1].push(round.bare_ns());
    }
    heap.verify()?;
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use clap::Parser;

    #[test]
    fn a_small_step_gives_every_figure() {
        let mut plan = Options::parse_from(["growth", "--quick"]).plan();
        (plan.objects, plan.rounds, plan.move_rounds) = (vec![1000, 2000], 2, 2);
        (plan.reads, plan.replacements, plan.moves) = (1000, 1000, 100);
        let sweeps = sweeps(&plan, &Progress::new(work(&plan), true)).expect("right");
        let names: Vec<_> = sweeps.iter().map(|sweep| sweep.operation).collect();
        assert_eq!(names, ["get", "insert", "remove", "move"]);
        for step in sweeps.iter().flat_map(|sweep| &sweep.steps) {
            assert!(step.samples.iter().all(|samples| samples.len() == 2));
            assert!(step.samples.iter().flatten().all(|sample| *sample > 0.0));
        }
    }
}
