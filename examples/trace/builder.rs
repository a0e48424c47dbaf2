//! Collects records and checks the rules that hold between them.

use super::{Op, Problem, Record, Trace};

/// Marks an object that is no longer live; no size is as large, see [`Builder::allocate`].
const FREED: u64 = u64::MAX;

/// A trace under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    records: Vec<Record>,
    sizes: Vec<u64>,
    live_bytes: u64,
    live_objects: u32,
    peak_bytes: u64,
    peak_objects: u32,
}

impl Builder {
    pub(super) fn with_capacity(records: usize, objects: usize) -> Self {
        let (records, sizes) = (Vec::with_capacity(records), Vec::with_capacity(objects));
        Builder { records, sizes, ..Builder::default() }
    }

    /// Number that the next object gets.
    pub(super) fn next_object(&self) -> u32 {
        self.sizes.len() as u32
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    pub(super) fn peak_objects(&self) -> u32 {
        self.peak_objects
    }

    /// Adds a new object. The caller has checked that its number fits in 32 bits.
    pub(super) fn allocate(
        &mut self,
        op: Op,
        thread: u16,
        align_log2: u8,
        size: u64,
    ) -> Result<(), Problem> {
        let object = self.next_object();
        self.grow(size, 0)?;
        self.sizes.push(size);
        self.live_objects += 1;
        self.peak_objects = self.peak_objects.max(self.live_objects);
        self.records.push(Record { size, object, thread, op, align_log2 });
        Ok(())
    }

    pub(super) fn free(&mut self, thread: u16, object: u32) -> Result<(), Problem> {
        let size = self.live_size(object)?;
        self.sizes[object as usize] = FREED;
        self.live_bytes -= size;
        self.live_objects -= 1;
        self.records.push(Record { size, object, thread, op: Op::Free, align_log2: 0 });
        Ok(())
    }

    pub(super) fn reallocate(
        &mut self,
        thread: u16,
        object: u32,
        size: u64,
    ) -> Result<(), Problem> {
        let old = self.live_size(object)?;
        self.grow(size, old)?;
        self.sizes[object as usize] = size;
        self.records.push(Record { size, object, thread, op: Op::Reallocate, align_log2: 0 });
        Ok(())
    }

    /// Object `distance` places before the next one, as a record names it.
    pub(super) fn back(&self, distance: u64) -> Result<u32, Problem> {
        let next = u64::from(self.next_object());
        match next.checked_sub(1).and_then(|newest| newest.checked_sub(distance)) {
            Some(object) => Ok(object as u32),
            None => Err(Problem::Distance { distance, next }),
        }
    }

    pub(super) fn finish(self, name: String, description: String, threads: u32) -> Trace {
        Trace {
            name,
            description,
            objects: self.next_object(),
            threads,
            peak_bytes: self.peak_bytes,
            peak_objects: self.peak_objects,
            records: self.records,
        }
    }

    fn live_size(&self, object: u32) -> Result<u64, Problem> {
        match self.sizes.get(object as usize) {
            Some(&size) if size != FREED => Ok(size),
            _ => Err(Problem::NotLive(object)),
        }
    }

    /// Counts `size` bytes in place of `old`. No sum exceeds what a pointer difference can hold,
    /// which also keeps sizes apart from [`FREED`].
    fn grow(&mut self, size: u64, old: u64) -> Result<(), Problem> {
        let live = (self.live_bytes - old).checked_add(size).ok_or(Problem::Size(size))?;
        if live > i64::MAX as u64 {
            return Err(Problem::Size(live));
        }
        self.live_bytes = live;
        self.peak_bytes = self.peak_bytes.max(live);
        Ok(())
    }
}
