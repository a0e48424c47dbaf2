//! The format `ATRACE1`: recorded calls of an allocator.

use serde::Deserialize;

use super::builder::Builder;
use super::cursor::Cursor;
use super::{Op, ParseError, Problem, Trace};

pub(super) const MAGIC: &[u8] = b"ATRACE1\n";

/// A tag byte and one number: no record is shorter.
const RECORD_BYTES_MIN: usize = 2;
const THREADS_MAX: u64 = 1 << 16;
const ALIGN_LOG2_MAX: u8 = 62;

/// Bit of the tag that announces a thread index.
const THREAD_CHANGES: u8 = 8;

/// The part of the metadata that is used; recorders add counters of their own.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
}

/// Reads metadata of `length` bytes.
pub(super) fn metadata(cursor: &mut Cursor<'_>, length: u32) -> Result<Metadata, ParseError> {
    let offset = cursor.offset();
    let text = cursor.take(length as usize)?;
    let problem = |reason: String| ParseError { offset, problem: Problem::Metadata(reason) };
    // A derived reader would accept an array too.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(problem("it does not start with a brace".to_owned()));
    }
    serde_json::from_slice(text).map_err(|error| problem(error.to_string()))
}

/// Checks a count of the header against what is possible.
pub(super) fn limited(
    offset: usize,
    what: &'static str,
    claimed: u64,
    limit: u64,
) -> Result<usize, ParseError> {
    if claimed > limit {
        return Err(ParseError { offset, problem: Problem::TooMany { what, claimed, limit } });
    }
    Ok(claimed as usize)
}

/// Checks a total of the header against the records.
pub(super) fn same(
    offset: usize,
    what: &'static str,
    header: u64,
    found: u64,
) -> Result<(), ParseError> {
    if header != found {
        return Err(ParseError { offset, problem: Problem::Differs { what, header, found } });
    }
    Ok(())
}

/// Checks that every byte has been read.
pub(super) fn at_end(cursor: &Cursor<'_>) -> Result<(), ParseError> {
    match cursor.left() {
        0 => Ok(()),
        left => Err(ParseError { offset: cursor.offset(), problem: Problem::Trailing(left) }),
    }
}

/// Reads a whole trace.
pub(super) fn parse(bytes: &[u8]) -> Result<Trace, ParseError> {
    let mut cursor = Cursor::new(bytes, MAGIC.len());
    let records = cursor.u64()?;
    let objects = cursor.u64()?;
    let peak_bytes = cursor.u64()?;
    let peak_objects = cursor.u64()?;
    let threads = cursor.u32()?;
    let metadata_length = cursor.u32()?;
    let metadata = metadata(&mut cursor, metadata_length)?;

    let records_max = cursor.left() / RECORD_BYTES_MIN;
    let count = limited(8, "records", records, records_max.min(u32::MAX as usize) as u64)?;
    let objects_count = limited(16, "objects", objects, records)?;
    limited(40, "threads", u64::from(threads), THREADS_MAX)?;

    let mut builder = Builder::with_capacity(count, objects_count);
    let mut thread = 0;
    for _ in 0..count {
        record(&mut cursor, &mut builder, &mut thread, threads)?;
    }
    at_end(&cursor)?;
    same(16, "objects", objects, u64::from(builder.next_object()))?;
    same(24, "bytes live at the peak", peak_bytes, builder.peak_bytes())?;
    same(32, "objects live at the peak", peak_objects, u64::from(builder.peak_objects()))?;
    Ok(builder.finish(metadata.name, metadata.description, threads))
}

/// Reads one record and adds it to the trace.
fn record(
    cursor: &mut Cursor<'_>,
    builder: &mut Builder,
    thread: &mut u16,
    threads: u32,
) -> Result<(), ParseError> {
    let offset = cursor.offset();
    let at_record = |problem| ParseError { offset, problem };
    let tag = cursor.u8()?;
    if tag & THREAD_CHANGES != 0 {
        let index = cursor.var()?;
        // An index beyond 16 bits is beyond `threads` too, and is refused below.
        if index >= u64::from(threads) {
            return Err(at_record(Problem::Thread { index, threads }));
        }
        *thread = index as u16;
    } else if u32::from(*thread) >= threads {
        return Err(at_record(Problem::Thread { index: u64::from(*thread), threads }));
    }
    let added = match tag & !THREAD_CHANGES {
        0 => builder.allocate(Op::Allocate, *thread, 0, cursor.var()?),
        1 => builder.allocate(Op::AllocateZeroed, *thread, 0, cursor.var()?),
        2 => {
            let align_log2 = cursor.u8()?;
            if align_log2 > ALIGN_LOG2_MAX {
                return Err(at_record(Problem::Alignment(align_log2)));
            }
            builder.allocate(Op::AllocateAligned, *thread, align_log2, cursor.var()?)
        }
        3 => {
            let distance = cursor.var()?;
            builder.back(distance).and_then(|object| builder.free(*thread, object))
        }
        4 => {
            let (distance, size) = (cursor.var()?, cursor.var()?);
            builder.back(distance).and_then(|object| builder.reallocate(*thread, object, size))
        }
        _ => Err(Problem::Tag(tag)),
    };
    added.map_err(at_record)
}
