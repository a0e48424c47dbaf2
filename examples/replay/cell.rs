//! What the threads of a replay share about each object.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The object is being changed by a worker.
const CHANGING: u32 = 1;

/// One object of the trace.
///
/// A worker writes a cell only while it does a record of the object; `done` passes the object on
/// to the worker of the next record. Readers look at any time.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// Bits of the handle; 0 while the object does not live.
    handle: AtomicU64,
    /// Requested size in bytes.
    size: AtomicU64,
    /// Twice the version of the contents, plus [`CHANGING`].
    state: AtomicU32,
    /// One more than the index of the object's latest record that is done; 0 before the first.
    done: AtomicU32,
}

impl Cell {
    /// Bits of the handle while the object lives.
    ///
    /// Acquire: pairs with [`Cell::open`]; whoever sees the handle sees the size too.
    pub(crate) fn handle(&self) -> Option<u64> {
        Some(self.handle.load(Ordering::Acquire)).filter(|&bits| bits != 0)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Version of the contents, unless they are being changed.
    ///
    /// Acquire: pairs with [`Cell::changed`]; whoever sees the new version sees the new size.
    pub(crate) fn version(&self) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        (state & CHANGING == 0).then_some(state / 2)
    }

    /// The object lives from now on.
    pub(crate) fn open(&self, handle: u64, size: u64) {
        self.size.store(size, Ordering::Relaxed);
        self.handle.store(handle, Ordering::Release);
    }

    /// The object is about to be removed. A reader whose handle is refused looks again and then
    /// sees this, because the removal follows it.
    pub(crate) fn close(&self) {
        self.handle.store(0, Ordering::Release);
    }

    /// Size and contents are about to change. A reader that gets hold of the block afterwards sees
    /// this, because the block's lock is taken and given back in between.
    pub(crate) fn change(&self) {
        self.state.fetch_or(CHANGING, Ordering::Release);
    }

    /// The contents have a new version and size.
    pub(crate) fn changed(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
        self.state.fetch_add(1, Ordering::Release); // the next even number
    }

    /// The change did not take place.
    pub(crate) fn unchanged(&self) {
        self.state.fetch_and(!CHANGING, Ordering::Release);
    }

    /// Acquire: pairs with [`Cell::pass_on`]; the next worker sees what the last one did.
    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::Acquire)
    }

    /// Record `index` is done.
    pub(crate) fn pass_on(&self, index: u32) {
        self.done.store(index + 1, Ordering::Release);
    }
}
