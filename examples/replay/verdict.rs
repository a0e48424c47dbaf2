//! Checks and what came of them.

/// What a look at an object found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything as written.
    Right,
    /// Something is wrong with a live object.
    Wrong(&'static str),
    /// The handle leads nowhere.
    Stale,
    /// A worker is changing the object at the moment.
    Changing,
}

/// How many wrong checks and failures are described; the rest are only counted.
const NOTES_MAX: usize = 5;

/// The checks of one thread, or the sum of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    /// Number of checks, wrong ones included.
    pub(crate) verified: u64,
    pub(crate) mismatches: u64,
    /// What the first wrong checks and failed allocations were.
    pub(crate) notes: Vec<String>,
}

impl Checks {
    /// Counts a check, and describes it when it was wrong.
    pub(crate) fn expect(&mut self, right: bool, note: impl FnOnce() -> String) {
        self.verified += 1;
        if !right {
            self.mismatches += 1;
            self.note(note);
        }
    }

    /// Keeps a remark, unless there are enough of them.
    pub(crate) fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note());
        }
    }

    /// Counts a look at an object that nobody else changes at the moment.
    pub(crate) fn settle(&mut self, id: u32, verdict: Verdict) {
        self.expect(verdict == Verdict::Right, || format!("object {id}: {}", verdict.text()));
    }

    /// Adds the checks of another thread.
    pub(crate) fn add(&mut self, other: Checks) {
        self.verified += other.verified;
        self.mismatches += other.mismatches;
        let room = NOTES_MAX.saturating_sub(self.notes.len());
        self.notes.extend(other.notes.into_iter().take(room));
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Right => "as written",
            Verdict::Wrong(what) => what,
            Verdict::Stale => "the handle of a live object is refused",
            Verdict::Changing => "in the middle of a change that nobody makes",
        }
    }
}
