//! The format `KTRACE1`: requests to a cache or store.

use super::atrace::{at_end, limited, metadata, same};
use super::cursor::Cursor;
use super::{ParseError, Problem, Trace, lookaside};

pub(super) const MAGIC: &[u8] = b"KTRACE1\n";

/// A tag byte, a key and a size: no record is shorter.
const RECORD_BYTES_MIN: usize = 3;

const TIME_STEP: u8 = 1 << 4;
const TTL: u8 = 1 << 5;

/// What a request does to a look-aside cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Looks the key up; a miss puts the object in.
    Read,
    /// Puts a new object in place of the stored one.
    Write,
    /// Takes the object out.
    Delete,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Size in bytes; a read of size 0 tells nothing about the size.
    pub(super) size: u64,
    pub(super) key: u32,
    pub(super) action: Action,
}

/// Reads a whole trace and turns it into the allocations of a look-aside cache.
pub(super) fn parse(bytes: &[u8]) -> Result<Trace, ParseError> {
    let mut cursor = Cursor::new(bytes, MAGIC.len());
    let requests = cursor.u64()?;
    let keys = cursor.u64()?;
    let metadata_length = cursor.u32()?;
    let metadata = metadata(&mut cursor, metadata_length)?;

    // A request may allocate and free, and object numbers have 32 bits.
    let requests_max = (cursor.left() / RECORD_BYTES_MIN).min(u32::MAX as usize / 2);
    let count = limited(8, "requests", requests, requests_max as u64)?;
    limited(16, "keys", keys, requests)?;

    let mut list = Vec::with_capacity(count);
    let (mut next_key, mut time) = (0, 0);
    for _ in 0..count {
        list.push(request(&mut cursor, &mut next_key, &mut time)?);
    }
    at_end(&cursor)?;
    same(16, "keys", keys, u64::from(next_key))?;
    let builder = lookaside::allocations(&list, next_key)
        .map_err(|problem| ParseError { offset: cursor.offset(), problem })?;
    Ok(builder.finish(metadata.name, metadata.description, 1))
}

/// Reads one request.
fn request(
    cursor: &mut Cursor<'_>,
    next_key: &mut u32,
    time: &mut u64,
) -> Result<Request, ParseError> {
    let offset = cursor.offset();
    let at_request = |problem| ParseError { offset, problem };
    let tag = cursor.u8()?;
    let action = match tag & 15 {
        // get, gets, touch, read, get_lease
        0 | 10 | 11 | 12 | 14 => Action::Read,
        9 => Action::Delete,
        _ => Action::Write,
    };
    if tag & !(15 | TIME_STEP | TTL) != 0 {
        return Err(at_request(Problem::Tag(tag)));
    }
    if tag & TIME_STEP != 0 {
        let step = cursor.var()?;
        *time = time.checked_add(step).ok_or_else(|| at_request(Problem::NumberTooLong))?;
    }
    let distance = cursor.var()?;
    let key = match u64::from(*next_key).checked_sub(distance) {
        Some(key) => key as u32,
        None => {
            let next = u64::from(*next_key);
            return Err(at_request(Problem::Distance { distance, next }));
        }
    };
    if distance == 0 {
        cursor.var()?; // size of the key
        *next_key += 1;
    }
    let size = cursor.var()?;
    if size > i64::MAX as u64 {
        return Err(at_request(Problem::Size(size)));
    }
    if tag & TTL != 0 {
        cursor.var()?;
    }
    Ok(Request { size, key, action })
}
