//! The threads that do the records of the trace.

use examples::trace::{Op, Record};

use crate::options::Mode;
use crate::replay::Run;
use crate::schedule::Aborted;
use crate::store::{Change, Refused};
use crate::verdict::Checks;

/// What a worker has done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) ops: u64,
    pub(crate) checks: Checks,
    pub(crate) failed_allocations: u64,
}

/// Makes the other workers give up when this one panics.
struct AbortOnPanic<'a>(&'a Run<'a>);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.schedule.abort();
        }
    }
}

/// Does all records of one worker.
pub(crate) fn work(run: &Run<'_>, worker: usize) -> Done {
    let _abort = AbortOnPanic(run);
    let mut done = Done::default();
    // When another worker has panicked, what it was doing is reported by its own message.
    let _: Result<(), Aborted> = follow_steps(run, worker, &mut done);
    run.schedule.advance(worker, u32::MAX);
    done
}

fn follow_steps(run: &Run<'_>, worker: usize, done: &mut Done) -> Result<(), Aborted> {
    let schedule = &run.schedule;
    let mut measured = false;
    let mut limit = 0;
    for &step in &run.plan.steps[worker] {
        schedule.advance(worker, step.record);
        if !measured && step.record >= run.plan.measure_at {
            schedule.wait_at_gate()?;
            measured = true;
        }
        let record = &run.trace.records()[step.record as usize];
        let cell = run.store.cell(record.object);
        schedule.wait_for_turn(step, cell, &mut limit)?;
        perform(run, worker, record, done);
        cell.pass_on(step.record);
        if let Mode::Every(records) = run.mode
            && (u64::from(step.record) + 1).is_multiple_of(records.get())
        {
            run.compaction.defragment(&run.store.heap);
        }
    }
    schedule.advance(worker, u32::MAX);
    if !measured {
        schedule.wait_at_gate()?;
    }
    Ok(())
}

fn perform(run: &Run<'_>, worker: usize, record: &Record, done: &mut Done) {
    done.ops += 1;
    let change: Result<Change, Refused> = match record.op {
        Op::Allocate | Op::AllocateZeroed | Op::AllocateAligned => {
            let change = run.store.allocate(record, &mut done.checks);
            run.schedule.made(worker, record.object);
            change
        }
        Op::Free => Ok(run.store.free(record.object, &mut done.checks)),
        Op::Reallocate => run.store.reallocate(record, &mut done.checks),
    };
    match change {
        Ok(change) => run.live.change(change),
        Err(refused) => {
            done.failed_allocations += 1;
            done.checks
                .note(|| format!("object {}, {} bytes: {refused}", record.object, record.size));
        }
    }
}
