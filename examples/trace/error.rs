//! What can be wrong with a trace.

use std::path::PathBuf;

/// Why a file could not be read as a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The compressed data is damaged or ends early.
    #[error("{}: the compressed data is damaged or cut off", path.display())]
    Compression {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// The file has or expands to more bytes than are accepted.
    #[error("{} has or expands to more than {limit} bytes, the limit", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The expanded bytes are not a valid trace.
    #[error("{} is not a valid trace", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with the bytes.
        source: ParseError,
    },
}

/// Where the bytes of a trace are wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct ParseError {
    /// Offset of the field at fault in the expanded bytes.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with the bytes of a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first eight bytes name no known format.
    #[error("neither ATRACE1 nor KTRACE1 stands at the start")]
    NotATrace,
    /// The bytes end inside a field.
    #[error("the file ends here, inside a field")]
    UnexpectedEnd,
    /// A variable-length number does not fit in 64 bits.
    #[error("a number of more than 64 bits")]
    NumberTooLong,
    /// The metadata is not a JSON object of the expected form.
    #[error("the metadata is not the expected JSON object: {0}")]
    Metadata(String),
    /// The header counts more than the file can hold or than this reader supports.
    #[error("the header claims {claimed} {what}, more than the {limit} that are possible here")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// What the header says.
        claimed: u64,
        /// What is possible.
        limit: u64,
    },
    /// A tag byte has an unknown operation, or bits set that must be zero.
    #[error("unknown tag {0:#04x}")]
    Tag(u8),
    /// A record names a thread that the header does not count.
    #[error("thread {index} of {threads}")]
    Thread {
        /// The index in the record.
        index: u64,
        /// Number of threads in the header.
        threads: u32,
    },
    /// A record points further back than to the first object or key.
    #[error("{distance} back from number {next} is before the first")]
    Distance {
        /// How far back the record points.
        distance: u64,
        /// Number that the next new object or key gets.
        next: u64,
    },
    /// A free or a reallocation names an object that is no longer live.
    #[error("object {0} is not live")]
    NotLive(u32),
    /// An alignment that no address has.
    #[error("an alignment of 2^{0}")]
    Alignment(u8),
    /// A size, or a sum of sizes, beyond any address space.
    #[error("a size of {0} bytes, beyond any address space")]
    Size(u64),
    /// A total of the records differs from the header.
    #[error("the header says {header} {what}, the records give {found}")]
    Differs {
        /// Which total.
        what: &'static str,
        /// What the header says.
        header: u64,
        /// What the records give.
        found: u64,
    },
    /// Bytes follow the last record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}
