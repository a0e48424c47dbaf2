//! What can go wrong. Calls that were given a value give it back.

use allocator_core::{AllocError, BuildError, Handle, StaleHandle};
use core::error::Error;
use core::fmt;
use core::iter::{Chain, Once, once};

/// Why a pool with a heap of its own could not be made.
///
/// ```
/// use typed_pool::{Pool, PoolError};
/// let error = Pool::<u64>::with_capacity(usize::MAX).unwrap_err();
/// assert!(matches!(error, PoolError::Build(_)));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// The heap could not be built: it would be larger than a heap can be, or the system has no
    /// room.
    Build(BuildError),
    /// The heap takes no pool of this type: its alignment is above 4096.
    Alloc(AllocError),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Alloc(error) => error.fmt(f),
        }
    }
}

impl Error for PoolError {}

impl From<BuildError> for PoolError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<AllocError> for PoolError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

/// An insert that was refused, and the value that was to be inserted.
///
/// `Debug`, `Display` and `Error` ask nothing of `T`; the value is not shown.
///
/// ```
/// use typed_pool::{Heap, Pool};
/// let pool = Pool::new(&Heap::builder().capacity(1024).build()?)?;
/// let refused = (0..).find_map(|i| pool.insert(vec![i; 3]).err()).unwrap();
/// assert!(refused.error.largest_free < size_of::<Vec<i32>>());
/// assert_eq!(refused.into_value().len(), 3);
/// # Ok::<(), typed_pool::PoolError>(())
/// ```
pub struct InsertError<T> {
    /// The value.
    pub value: T,
    /// Why it was not inserted.
    pub error: AllocError,
}

impl<T> InsertError<T> {
    /// The value that was to be inserted.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for InsertError<T> {}

impl<T> From<InsertError<T>> for AllocError {
    /// Drops the value.
    fn from(refused: InsertError<T>) -> Self {
        refused.error
    }
}

/// A batch that was refused in the middle, with all its parts: the handles of what was put in, the value
/// that had no room, and the values after it.
///
/// `Debug`, `Display` and `Error` ask nothing of `T` and the iterator; the values are not shown.
///
/// ```
/// use typed_pool::{Heap, Pool};
/// let pool = Pool::new(&Heap::builder().capacity(1024).build()?)?;
/// let refused = pool.insert_many((0..20_u8).map(|i| [i; 100])).unwrap_err();
/// assert!(refused.error.largest_free < 100);
/// assert_eq!(usize::from(refused.value[0]), refused.handles.len());
///
/// let handles = refused.handles.clone();
/// assert_eq!(pool.remove_many(&handles[1..]), handles.len() - 1); // make room, go on
/// let again = pool.insert_many(refused.into_values().take(1))?;
/// assert!(pool.get(handles[1]).is_none() && pool.contains(again[0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InsertManyError<T, I> {
    /// Handles of the values that were put in; they are in the pool.
    pub handles: Vec<Handle<T>>,
    /// The value that was not.
    pub value: T,
    /// The values after it, which were not looked at.
    pub rest: I,
    /// Why not.
    pub error: AllocError,
}

impl<T, I: Iterator<Item = T>> InsertManyError<T, I> {
    /// The values that were not put in.
    pub fn into_values(self) -> Chain<Once<T>, I> {
        once(self.value).chain(self.rest)
    }
}

impl<T, I> fmt::Debug for InsertManyError<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = f.debug_struct("InsertManyError");
        parts.field("inserted", &self.handles.len()).field("error", &self.error);
        parts.finish_non_exhaustive()
    }
}

impl<T, I> fmt::Display for InsertManyError<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values were inserted, then: {}", self.handles.len(), self.error)
    }
}

impl<T, I> Error for InsertManyError<T, I> {}

/// Why an object was not replaced by a new version; it is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RcuError {
    /// The handle names no live object.
    Stale,
    /// There is no room for a second version beside the first.
    Alloc(AllocError),
}

impl fmt::Display for RcuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => StaleHandle.fmt(f),
            Self::Alloc(error) => error.fmt(f),
        }
    }
}

impl Error for RcuError {}

impl From<AllocError> for RcuError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

impl From<StaleHandle> for RcuError {
    fn from(_: StaleHandle) -> Self {
        Self::Stale
    }
}

/// A replacement that was refused, and the value that was to be put in.
///
/// `Debug`, `Display` and `Error` ask nothing of `T`; the value is not shown.
///
/// ```
/// use typed_pool::{Pool, RcuError};
/// let pool = Pool::with_capacity(8)?;
/// let handle = pool.insert("old".to_string())?;
/// pool.remove(handle);
/// let refused = pool.replace(handle, "new".to_string()).unwrap_err();
/// assert_eq!(refused.error, RcuError::Stale);
/// assert_eq!(refused.into_value(), "new");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReplaceError<T> {
    /// The value.
    pub value: T,
    /// Why it was not put in.
    pub error: RcuError,
}

impl<T> ReplaceError<T> {
    /// The value that was to be put in.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Debug for ReplaceError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplaceError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for ReplaceError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for ReplaceError<T> {}

impl<T> From<ReplaceError<T>> for RcuError {
    /// Drops the value.
    fn from(refused: ReplaceError<T>) -> Self {
        refused.error
    }
}
