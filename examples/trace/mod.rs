//! Allocation traces: what a program asked of its allocator, in the order in which it asked.
//!
//! [`Trace::read`] accepts a file, compressed with zstd or plain, in either of two formats.
//! `ATRACE1` is a recording of allocator calls. `KTRACE1` is a list of requests to a cache, which
//! is turned into the allocations of a look-aside cache that holds half of what was requested.
//! The file `data/README.md` describes both formats byte by byte.
//!
//! Reading is total: any sequence of bytes gives a trace or an error that says where the bytes are
//! wrong and how. Memory use is bounded by the length of the file, not by what its header claims.

mod atrace;
mod builder;
mod cursor;
mod error;
mod file;
mod ktrace;
mod lookaside;

use std::path::Path;

pub use error::{ParseError, Problem, ReadError};

/// What a record asks of the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A new object with any contents, as `malloc` makes it.
    Allocate,
    /// A new object of zeroes, as `calloc` makes it.
    AllocateZeroed,
    /// A new object at a multiple of [`Record::align`], as `aligned_alloc` makes it.
    AllocateAligned,
    /// The end of an object.
    Free,
    /// A new size for an object that keeps its identity and its contents.
    Reallocate,
}

/// One request, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Requested size in bytes, which may be zero. For a free, the size that the object had.
    pub size: u64,
    /// Number of the object, in order of allocation.
    pub object: u32,
    /// Index of the thread that asked.
    pub thread: u16,
    /// What was asked.
    pub op: Op,
    align_log2: u8,
}

impl Record {
    /// The alignment that was asked for; 1 when the request named none.
    #[must_use]
    pub fn align(&self) -> u64 {
        1 << self.align_log2
    }
}

/// A checked trace.
#[derive(Clone, Debug)]
pub struct Trace {
    name: String,
    description: String,
    records: Vec<Record>,
    objects: u32,
    threads: u32,
    peak_bytes: u64,
    peak_objects: u32,
}

impl Trace {
    /// Reads a trace from a file, compressed with zstd or plain.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or expanded, or does not hold a valid trace.
    pub fn read(path: &Path) -> Result<Trace, ReadError> {
        let mut trace = Trace::parse(&file::read(path)?)
            .map_err(|source| ReadError::Format { path: path.to_owned(), source })?;
        if trace.name.is_empty() {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            trace.name = stem.split('.').next().unwrap_or_default().to_owned();
        }
        Ok(trace)
    }

    /// Reads a trace from bytes that are not compressed.
    ///
    /// # Errors
    ///
    /// When the bytes are not a valid trace. See [`Problem`] for what is checked.
    pub fn parse(bytes: &[u8]) -> Result<Trace, ParseError> {
        match bytes.get(..8) {
            Some(atrace::MAGIC) => atrace::parse(bytes),
            Some(ktrace::MAGIC) => ktrace::parse(bytes),
            _ => Err(ParseError { offset: 0, problem: Problem::NotATrace }),
        }
    }

    /// The name that the metadata gives.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A sentence on what was recorded; empty when the metadata has none.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The requests. Their order is one that a single thread can follow.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Number of objects; their numbers are below it.
    #[must_use]
    pub fn objects(&self) -> u32 {
        self.objects
    }

    /// Number of recorded threads; their indexes are below it.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// The largest sum of the requested sizes of the live objects.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// The largest number of live objects.
    #[must_use]
    pub fn peak_objects(&self) -> u32 {
        self.peak_objects
    }
}
