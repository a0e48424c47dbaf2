//! Reading a file that may be compressed, with bounds on what is read and on what it expands to.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{ReadError, atrace, ktrace};

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// No file of more bytes is read.
const STORED_MAX: u64 = 1 << 30;

/// Any file may expand to this much; a larger file to [`EXPANSION_MAX`] times its length.
/// Recorded traces expand by a factor of about six.
const EXPANDED_FLOOR: u64 = 64 << 20;
const EXPANSION_MAX: u64 = 100;

/// The expanded contents of the file. Of a file that starts like no trace only the start.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let too_large = |limit| ReadError::TooLarge { path: path.to_owned(), limit };
    let stored =
        read_stored(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    if stored.len() as u64 > STORED_MAX {
        return Err(too_large(STORED_MAX));
    }
    if !stored.starts_with(ZSTD_MAGIC) {
        return Ok(stored);
    }
    let limit = EXPANDED_FLOOR.max(stored.len() as u64 * EXPANSION_MAX);
    let mut expanded = Vec::new();
    zstd::Decoder::with_buffer(BufReader::new(&stored[..]))
        .and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut expanded))
        .map_err(|source| ReadError::Compression { path: path.to_owned(), source })?;
    if expanded.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(expanded)
}

/// The file as it is, up to one byte more than [`STORED_MAX`].
fn read_stored(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut stored = Vec::new();
    let start = atrace::MAGIC.len() as u64;
    file.by_ref().take(start).read_to_end(&mut stored)?;
    let known = [ZSTD_MAGIC, atrace::MAGIC, ktrace::MAGIC];
    if known.iter().any(|magic| stored.starts_with(magic)) {
        file.take(STORED_MAX + 1 - start).read_to_end(&mut stored)?;
    }
    Ok(stored)
}
