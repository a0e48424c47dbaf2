//! [`HeapBuilder`]: the settings of a heap.

use crate::chunk;
use crate::error::BuildError;
use crate::heap::{Heap, Settings};
use crate::policy::Policy;
use crate::raw::os::membarrier;
use crate::raw::{Buffer, GRANULE, Memory, Wipe};
use crate::size_class;
use std::time::Duration;

/// Smallest capacity, in bytes.
pub(crate) const CAPACITY_MIN: usize = 256;
/// Largest capacity, in bytes: what 32-bit offsets can name.
pub(crate) const CAPACITY_MAX: usize = 64 << 30;
/// Heaps below this capacity have one stripe.
const STRIPED_MIN: usize = 1 << 20;
/// Most stripes of a heap.
const STRIPES_MAX: usize = 64;

/// Slots of each table that threads may have in hand, for each stripe.
const SPARE_SLOTS: usize = 128;

/// Most bytes of blocks that a thread keeps of a pool.
const THREAD_CACHE_MAX: usize = 1 << 20;
/// Smallest and largest page, in bytes.
const PAGE_MIN: usize = 1 << 10;
const PAGE_MAX: usize = size_class::PAGE_MAX as usize * GRANULE;
/// Longest patience.
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A heap is divided into at least this many pages, unless they get too small.
const PAGES_MIN: usize = 512;

/// How entering a read-side section is fenced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum FenceMode {
    /// Asymmetric where the system offers it, plain elsewhere. The default.
    #[default]
    Automatic,
    /// Entering costs no fence on a thread that does it often; who moves or reclaims pays, with `membarrier` (Linux).
    /// The first 1024 guards of a thread issue full fences, and so do some after a time without many: where no
    /// other thread reads often, nobody pays. Building fails where the system does not offer it.
    Asymmetric,
    /// Entering issues a full fence (5 to 10 ns).
    Plain,
}

/// Settings of a [`Heap`]; made by [`Heap::builder`].
///
/// ```
/// use allocator_core::{Heap, Policy};
/// let heap = Heap::builder().capacity(16 << 20).stripes(4).policy(Policy::FirstFit).build()?;
/// assert_eq!(heap.capacity(), 16 << 20);
///
/// let error = Heap::builder().capacity(100).build().unwrap_err();
/// assert_eq!(error.to_string(), "capacity is 100, which is not in 256..=68719476736");
/// # Ok::<(), allocator_core::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct HeapBuilder {
    capacity: usize,
    buffer: Option<Buffer>,
    stripes: Option<usize>,
    page_size: Option<usize>,
    policy: Policy,
    fence: FenceMode,
    huge_pages: bool,
    patience: Duration,
    compact_when_full: bool,
    thread_cache: Option<usize>,
    zero_on_move: bool,
    zero_on_free: bool,
}

impl HeapBuilder {
    pub(crate) fn new() -> Self {
        Self {
            capacity: 64 << 20,
            buffer: None,
            stripes: None,
            page_size: None,
            policy: Policy::default(),
            fence: FenceMode::default(),
            huge_pages: false,
            patience: Duration::from_secs(1),
            compact_when_full: false,
            thread_cache: None,
            zero_on_move: false,
            zero_on_free: false,
        }
    }

    /// Bytes that the heap can hold as one block: 256 bytes to 64 GiB, 64 MiB by default. Address space is
    /// reserved at once, memory is committed when it is first used. (At exactly 64 GiB the largest block is
    /// two granules smaller.)
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// Uses a buffer of the caller's instead of mapped memory; overrides [`capacity`](Self::capacity). Needs
    /// 256 bytes at least, of which a granule of 16 bytes at the start, and what is not aligned to granules at either end, hold
    /// no block: [`Heap::capacity`] says what is left. Its pages are never given back to the system.
    pub fn buffer(mut self, buffer: impl Into<Buffer>) -> Self {
        self.buffer = Some(buffer.into());
        self
    }

    /// Number of locks for small blocks: 1 to 64, by default the number of processors, rounded up to a
    /// power of two. Heaps below 1 MiB have one. Stripes are a matter of concurrency only; they limit no
    /// request.
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = Some(stripes);
        self
    }

    /// Bytes in which stripes take and return space: a power of two from 1 KiB to 1 MiB, by default 64 KiB,
    /// less in small heaps. Each stripe may keep one partly filled page a size class.
    pub fn page_size(mut self, bytes: usize) -> Self {
        self.page_size = Some(bytes);
        self
    }

    /// The rule that finds room; [`Policy::SizeClass`] by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How entering a read-side section is fenced; [`FenceMode::Automatic`] by default.
    pub fn fence(mut self, fence: FenceMode) -> Self {
        self.fence = fence;
        self
    }

    /// Asks the system to back mapped memory and the slots of pools with huge pages; off by default. Reads of
    /// large heaps get cheaper, and memory is committed in larger steps. Pages of slots are not given back then: that
    /// would split huge ones.
    pub fn huge_pages(mut self, on: bool) -> Self {
        self.huge_pages = on;
        self
    }

    /// How long a call waits at most for guards of other threads before it reports them: 1 s by default. A
    /// guard that was forgotten costs this much, never more. At most a day.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(PATIENCE_MAX);
        self
    }

    /// Whether an allocation that finds no room, though enough is free in pieces, moves blocks away before it gives up; off
    /// by default. It empties the stretch that costs least, and defragments the heap if none can be emptied.
    pub fn compact_when_full(mut self, on: bool) -> Self {
        self.compact_when_full = on;
        self
    }

    /// Bytes of blocks that a thread may keep of each pool (of raw blocks: an eighth for each size class) for its
    /// next inserts, up to three times as many after removing: by default 64 KiB, or a 256th of a small heap. With 0 every
    /// insert takes a lock. What is kept is counted by [`Stats::cached_blocks`](crate::Stats::cached_blocks), given
    /// back by [`Heap::flush`] and [`Heap::defragment`], and before anything is refused. At most 1 MiB.
    ///
    /// Only with [`Policy::SizeClass`], and blocks of up to 1 KiB.
    pub fn thread_cache(mut self, bytes: usize) -> Self {
        self.thread_cache = Some(bytes.min(THREAD_CACHE_MAX));
        self
    }

    /// Whether bytes are overwritten with zeroes where something was moved away from: by a defragmentation, by a resize, or because
    /// a value was taken out; off by default. So a secret whose `Drop` erases it leaves no copy in free memory. O(size) for each.
    pub fn zero_on_move(mut self, on: bool) -> Self {
        self.zero_on_move = on;
        self
    }

    /// Whether the bytes of each block are overwritten with zeroes when it becomes free, or is moved; off by default. That is when
    /// nobody can see it any more, which may be some time after it was removed ([`Heap::flush`]). What is alive when a heap ends
    /// is overwritten too. O(size) for each.
    ///
    /// Values on their way into a heap and out of it leave copies elsewhere, of which the heap knows nothing.
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(1 << 16).zero_on_free(true).build()?;
    /// let secret = heap.allocate_bytes(b"a secret")?;
    /// let place = heap.read(secret)?.as_ptr();
    /// heap.deallocate(secret)?;
    /// heap.flush();
    /// // SAFETY: memory of the heap, which is mapped as long as that is there; nobody else uses it.
    /// assert_eq!(unsafe { place.read() }, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zero_on_free(mut self, on: bool) -> Self {
        self.zero_on_free = on;
        self
    }

    /// Makes the heap.
    ///
    /// # Errors
    /// Names the setting that cannot be had, its value and the range; or the memory that the system refused.
    pub fn build(self) -> Result<Heap, BuildError> {
        let capacity = self.capacity_checked()?;
        let page_size = self.page_size_checked(capacity)?;
        let stripes = self.stripes_checked(capacity)?;
        let asymmetric = match self.fence {
            FenceMode::Plain => false,
            FenceMode::Automatic => membarrier::register(),
            FenceMode::Asymmetric if membarrier::register() => true,
            FenceMode::Asymmetric => return Err(BuildError::NoAsymmetricFence),
        };
        let memory = match self.buffer {
            Some(buffer) => Memory::over(buffer),
            None => Memory::map(granules(capacity), self.huge_pages),
        };
        let mut memory = memory.ok_or(BuildError::NoMemory { bytes: capacity })?;
        memory.set_wipe(match (self.zero_on_free, self.zero_on_move) {
            (true, _) => Wipe::Freed,
            (false, true) => Wipe::Moved,
            (false, false) => Wipe::Never,
        });
        let settings = Settings {
            capacity: capacity.min(largest_block(&memory)),
            // Small heaps of first fit are one space; slabs pay from a few pages on.
            store_stripes: match self.policy {
                Policy::SizeClass if capacity < 4 * page_size => 0,
                Policy::FirstFit if stripes == 1 => 0,
                _ => stripes,
            },
            spare_slots: (stripes * SPARE_SLOTS) as u32,
            thread_cache: self.thread_cache.unwrap_or(default_cache(capacity)),
            huge_pages: self.huge_pages,
            page_shift: (page_size / GRANULE).ilog2(),
            policy: self.policy,
            asymmetric,
            patience: self.patience,
            compact_when_full: self.compact_when_full,
        };
        Heap::new(memory, settings).ok_or(BuildError::NoMemory { bytes: capacity })
    }

    fn capacity_checked(&self) -> Result<usize, BuildError> {
        let (setting, value) = match &self.buffer {
            Some(buffer) => ("buffer", buffer.len()),
            None => ("capacity", self.capacity),
        };
        in_range(setting, value, CAPACITY_MIN, CAPACITY_MAX)
    }

    fn page_size_checked(&self, capacity: usize) -> Result<usize, BuildError> {
        let Some(value) = self.page_size else {
            let share = capacity / PAGES_MIN;
            return Ok((1 << share.max(1).ilog2()).clamp(PAGE_MIN, 64 << 10));
        };
        in_range("page_size", value, PAGE_MIN, PAGE_MAX)?;
        if !value.is_power_of_two() {
            return Err(BuildError::NotAPowerOfTwo { setting: "page_size", value });
        }
        Ok(value)
    }

    fn stripes_checked(&self, capacity: usize) -> Result<usize, BuildError> {
        let processors = || {
            let count = std::thread::available_parallelism().map_or(1, |count| count.get());
            count.next_power_of_two().min(STRIPES_MAX)
        };
        let stripes = self.stripes.unwrap_or_else(processors);
        in_range("stripes", stripes, 1, STRIPES_MAX)?;
        Ok(if capacity < STRIPED_MIN && !cfg!(loom) { 1 } else { stripes })
    }
}

fn in_range(
    setting: &'static str,
    value: usize,
    min: usize,
    max: usize,
) -> Result<usize, BuildError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(BuildError::OutOfRange { setting, value, min, max })
    }
}

/// What a thread keeps of each pool where the builder was not told.
fn default_cache(capacity: usize) -> usize {
    if cfg!(loom) { THREAD_CACHE_MAX } else { (capacity / 256).min(64 << 10) }
}

/// Bytes of a block that takes all of the memory.
fn largest_block(memory: &Memory) -> usize {
    let (lo, hi) = memory.bounds();
    (hi - lo).saturating_sub(chunk::HEADER) as usize * GRANULE
}

/// Granules that hold one block of `capacity` bytes and its header, as far as offsets can name them.
fn granules(capacity: usize) -> u32 {
    u32::try_from(capacity.div_ceil(GRANULE) + 1).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}
