//! What can go wrong, one small type per operation.

use crate::heap::ALIGN_MAX;
use core::fmt;

/// A setting of the builder that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of its range.
    OutOfRange {
        /// Name of the builder's method.
        setting: &'static str,
        /// What was asked for.
        value: usize,
        /// Smallest value allowed.
        min: usize,
        /// Largest value allowed.
        max: usize,
    },
    /// A setting must be a power of two.
    NotAPowerOfTwo {
        /// Name of the builder's method.
        setting: &'static str,
        /// What was asked for.
        value: usize,
    },
    /// An asymmetric fence was asked for, and the system does not offer one.
    NoAsymmetricFence,
    /// The system has no room for the buffer or its tables.
    NoMemory {
        /// Bytes that were asked of the system.
        bytes: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { setting, value, min, max } => {
                write!(f, "{setting} is {value}, which is not in {min}..={max}")
            }
            Self::NotAPowerOfTwo { setting, value } => {
                write!(f, "{setting} is {value}, which is not a power of two")
            }
            Self::NoAsymmetricFence => {
                f.write_str("fence is Asymmetric, which this system does not offer (use Automatic)")
            }
            Self::NoMemory { bytes } => write!(f, "the system has no room for {bytes} bytes"),
        }
    }
}

impl core::error::Error for BuildError {}

/// Why an allocation was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllocErrorKind {
    /// No free run is large enough.
    OutOfMemory,
    /// Every slot of the table is in use.
    OutOfSlots,
    /// The heap already serves as many pools as it can.
    TooManyPools,
    /// The size or alignment is beyond what any heap holds.
    Unsupported,
}

/// An allocation that was refused; nothing has changed.
///
/// The numbers are those of the moment of the refusal, after retired blocks were reclaimed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AllocError {
    /// Why.
    pub kind: AllocErrorKind,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Alignment that was asked for, in bytes.
    pub align: usize,
    /// Free bytes of the heap, in whatever pieces.
    pub free: usize,
    /// Bytes of the largest block that would have fitted.
    pub largest_free: usize,
    /// Bytes of retired blocks that guards or pins still keep.
    pub pending: usize,
    /// Objects that were purged for this allocation, in vain.
    pub purged: usize,
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requested, align, free, largest_free, pending, purged, .. } = self;
        match self.kind {
            AllocErrorKind::OutOfMemory => write!(
                f,
                "no room for {requested} bytes aligned to {align}: {free} bytes are free, the largest \
                 block is {largest_free} bytes, {pending} bytes wait for guards or pins",
            ),
            AllocErrorKind::OutOfSlots => f.write_str("every slot of the table is in use"),
            AllocErrorKind::TooManyPools => f.write_str("the heap serves no more pools"),
            AllocErrorKind::Unsupported if *align > ALIGN_MAX => {
                write!(f, "an alignment of {align} is above {ALIGN_MAX}, the largest there is")
            }
            AllocErrorKind::Unsupported => {
                write!(f, "{requested} bytes aligned to {align} are beyond any heap")
            }
        }?;
        if *purged > 0 {
            write!(f, "; {purged} objects were purged in vain")?;
        }
        Ok(())
    }
}

impl core::error::Error for AllocError {}

/// A handle that names no live object: it was removed, belongs elsewhere, or was made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaleHandle;

impl fmt::Display for StaleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handle names no live object")
    }
}

impl core::error::Error for StaleHandle {}

/// Why a block or object could not be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AccessError {
    /// The handle names no live object.
    Stale,
    /// Somebody holds the block in a way that excludes ours, or the largest number of holds is reached.
    Busy,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => StaleHandle.fmt(f),
            Self::Busy => f.write_str("the block is held by somebody else"),
        }
    }
}

impl core::error::Error for AccessError {}

impl From<StaleHandle> for AccessError {
    fn from(_: StaleHandle) -> Self {
        Self::Stale
    }
}

/// Why a block was not resized; it keeps its size and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ResizeError {
    /// The block could not be held.
    Access(AccessError),
    /// There is no room for the new size.
    Alloc(AllocError),
}

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::Alloc(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ResizeError {}

impl From<AccessError> for ResizeError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<AllocError> for ResizeError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

/// Why a value was not taken out; it is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TakeError {
    /// The handle names no live object.
    Stale,
    /// The object is pinned.
    Pinned,
    /// Readers or a mover kept the object for as long as the call was willing to wait.
    Busy,
    /// The calling thread is inside a read-side section of the heap itself.
    OwnGuard,
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => StaleHandle.fmt(f),
            Self::Pinned => f.write_str("the object is pinned"),
            Self::Busy => f.write_str("readers or a mover keep the object"),
            Self::OwnGuard => f.write_str("the calling thread holds a guard of the heap itself"),
        }
    }
}

impl core::error::Error for TakeError {}

/// The first invariant of a heap that was found broken; a bug in this crate, or memory overwritten by
/// unsafe code elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError(pub(crate) String);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the heap is inconsistent: {}", self.0)
    }
}

impl core::error::Error for VerifyError {}
