//! What the models share: how one is explored, and the proof that it reached what it is about.

#![allow(dead_code, reason = "each binary of models uses what it needs")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Every schedule and every value that a load may give.
pub(crate) const UNBOUNDED: Option<usize> = None;

/// Turns of one execution; only a model that spins for ever has more.
const BRANCHES_MAX: usize = 10_000;

/// Something that has to happen in some execution of a model, or the model proves nothing.
#[derive(Debug)]
pub(crate) struct Path {
    name: &'static str,
    // On `std`: it counts over all executions and is no part of the model.
    executions: AtomicU64,
}

impl Path {
    /// It happened.
    pub(crate) fn reached(&self) {
        // Relaxed: a count, read when the exploration is over.
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// It happened, if `did`.
    pub(crate) fn reached_if(&self, did: bool) {
        if did {
            self.reached();
        }
    }
}

/// Explores `model` with at most `preemptions` of them in an execution, and demands that each of `paths` was
/// reached in some. `LOOM_MAX_PREEMPTIONS` replaces the bound.
pub(crate) fn explore<const N: usize>(
    preemptions: Option<usize>,
    paths: [&'static str; N],
    model: impl Fn([&'static Path; N]) + Send + Sync + 'static,
) {
    // Leaked, so that the threads of a model can take them along; a few words a model.
    let paths = paths.map(|name| &*Box::leak(Box::new(Path { name, executions: 0.into() })));
    let executions: &AtomicU64 = Box::leak(Box::default());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = BRANCHES_MAX;
    let bound = builder.preemption_bound;
    let start = Instant::now();
    builder.check(move || {
        executions.fetch_add(1, Ordering::Relaxed);
        model(paths);
    });
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let reached = paths.map(|path| format!("{} {}", path.name, count(&path.executions))).join(", ");
    println!(
        "{}: {} executions in {:.1?}, preemptions {}; {reached}",
        std::thread::current().name().unwrap_or_default(),
        count(executions),
        start.elapsed(),
        bound.map_or("unbounded".into(), |bound| bound.to_string()),
    );
    for path in paths {
        assert!(count(&path.executions) > 0, "no execution reached '{}'", path.name);
    }
}
