//! Reading a file that may be compressed, with a bound on what it expands to.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::ReadError;

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Any file may expand to this much; a larger file to [`EXPANSION_MAX`] times its length.
/// Recorded traces expand by a factor of about six.
const EXPANDED_FLOOR: u64 = 64 << 20;
const EXPANSION_MAX: u64 = 100;

/// The expanded contents of the file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut stored = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut stored)).map_err(io)?;
    if !stored.starts_with(&ZSTD_MAGIC) {
        return Ok(stored);
    }
    let limit = EXPANDED_FLOOR.max(stored.len() as u64 * EXPANSION_MAX);
    let mut expanded = Vec::new();
    zstd::Decoder::with_buffer(BufReader::new(&stored[..]))
        .and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut expanded))
        .map_err(|source| ReadError::Compression { path: path.to_owned(), source })?;
    if expanded.len() as u64 > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(expanded)
}
