//! Who is measured: our heap and pools, and the global allocator of the process.

use crate::footprint::report::Account;
use allocator_core::{DefragReport, Defragmenter, Handle, Heap};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::time::Duration;
use typed_pool::Pool;

/// Something that keeps bytes.
pub trait Blocks: Sized {
    /// Names a block.
    type Key: fmt::Debug;

    /// With room for so many bytes of blocks in all.
    ///
    /// # Errors
    /// It cannot be had.
    fn with_room(bytes: u64) -> Result<Self>;

    /// Keeps a copy of `bytes`.
    ///
    /// # Errors
    /// There is no room.
    fn insert(&mut self, bytes: &[u8]) -> Result<Self::Key>;

    /// Gives a block up.
    ///
    /// # Errors
    /// There is no such block.
    fn remove(&mut self, key: Self::Key) -> Result<()>;

    /// Whether a block holds exactly these bytes.
    fn holds(&self, key: &Self::Key, bytes: &[u8]) -> bool;

    /// How many blocks there are, if it knows.
    fn live(&self) -> Option<u64> {
        None
    }

    /// Moves blocks together and gives memory back, if it can.
    fn defragment(&mut self) -> Option<DefragReport> {
        None
    }

    /// Starts to do so in the background, if it can.
    ///
    /// # Errors
    /// It could, but the system lets it not.
    fn start_background(&self) -> Result<Option<Defragmenter>> {
        Ok(None)
    }

    /// Where its bytes are, if it knows; of `grown` bytes in all.
    fn account(&self, _grown: u64) -> Option<Account> {
        None
    }
}

/// The global allocator.
#[derive(Debug)]
pub struct SystemBlocks;

impl Blocks for SystemBlocks {
    type Key = Box<[u8]>;

    fn with_room(_bytes: u64) -> Result<Self> {
        Ok(Self)
    }

    #[inline]
    fn insert(&mut self, bytes: &[u8]) -> Result<Self::Key> {
        Ok(Box::from(bytes))
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) -> Result<()> {
        drop(key);
        Ok(())
    }

    fn holds(&self, key: &Self::Key, bytes: &[u8]) -> bool {
        **key == *bytes
    }
}

/// Raw blocks of our heap.
#[derive(Debug)]
pub struct HeapBlocks(Heap);

/// A heap that is not full at several times the payload.
fn heap(bytes: u64) -> Result<Heap> {
    // Memory that is not used is address space only.
    let capacity = 4 * bytes as usize + (64 << 20);
    Heap::builder().capacity(capacity).build().context("no heap")
}

impl Blocks for HeapBlocks {
    type Key = Handle;

    fn with_room(bytes: u64) -> Result<Self> {
        Ok(Self(heap(bytes)?))
    }

    #[inline]
    fn insert(&mut self, bytes: &[u8]) -> Result<Self::Key> {
        Ok(self.0.allocate_bytes(bytes)?)
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) -> Result<()> {
        Ok(self.0.deallocate(key)?)
    }

    fn holds(&self, key: &Self::Key, bytes: &[u8]) -> bool {
        self.0.read(*key).is_ok_and(|block| *block == *bytes)
    }

    fn live(&self) -> Option<u64> {
        Some(self.0.stats().live_blocks as u64)
    }

    fn defragment(&mut self) -> Option<DefragReport> {
        Some(self.0.defragment())
    }

    fn start_background(&self) -> Result<Option<Defragmenter>> {
        Ok(Some(eager(&self.0)?))
    }

    fn account(&self, grown: u64) -> Option<Account> {
        Some(account(&self.0, grown))
    }
}

/// Two of our pools in one heap, for objects of `A` and of `B` bytes.
#[derive(Debug)]
pub struct Pools<const A: usize, const B: usize> {
    heap: Heap,
    small: Pool<[u8; A]>,
    large: Pool<[u8; B]>,
}

/// An object of either pool.
#[derive(Debug)]
pub enum Object<const A: usize, const B: usize> {
    /// Of the one for `A` bytes.
    Small(typed_pool::Handle<[u8; A]>),
    /// Of the other.
    Large(typed_pool::Handle<[u8; B]>),
}

impl<const A: usize, const B: usize> Blocks for Pools<A, B> {
    type Key = Object<A, B>;

    fn with_room(bytes: u64) -> Result<Self> {
        let heap = heap(bytes)?;
        Ok(Self { small: Pool::new(&heap)?, large: Pool::new(&heap)?, heap })
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<Self::Key> {
        if let Ok(object) = <[u8; A]>::try_from(bytes) {
            return Ok(Object::Small(self.small.insert(object)?));
        }
        let Ok(object) = <[u8; B]>::try_from(bytes) else { bail!("no pool for such objects") };
        Ok(Object::Large(self.large.insert(object)?))
    }

    fn remove(&mut self, key: Self::Key) -> Result<()> {
        let was_there = match key {
            Object::Small(handle) => self.small.remove(handle),
            Object::Large(handle) => self.large.remove(handle),
        };
        was_there.then_some(()).context("the object is gone")
    }

    fn holds(&self, key: &Self::Key, bytes: &[u8]) -> bool {
        match key {
            Object::Small(handle) => self.small.get(*handle).is_some_and(|it| *it == *bytes),
            Object::Large(handle) => self.large.get(*handle).is_some_and(|it| *it == *bytes),
        }
    }

    fn live(&self) -> Option<u64> {
        Some((self.small.len() + self.large.len()) as u64)
    }

    fn defragment(&mut self) -> Option<DefragReport> {
        Some(self.heap.defragment())
    }

    fn start_background(&self) -> Result<Option<Defragmenter>> {
        Ok(Some(eager(&self.heap)?))
    }

    fn account(&self, grown: u64) -> Option<Account> {
        Some(account(&self.heap, grown))
    }
}

/// The share of a core that the background defragmenter gets.
pub const BACKGROUND_CPU_SHARE: f64 = 1.0;
/// The share of waste above which it starts.
pub const BACKGROUND_START_ABOVE: f64 = 0.025;
/// The share of waste below which it stops.
pub const BACKGROUND_STOP_BELOW: f64 = 0.01;
/// How often it looks.
pub const BACKGROUND_INTERVAL: Duration = Duration::from_millis(1);

/// A background defragmenter that is worth more than the core it works on: the workloads shift as fast as they can, and
/// are over in seconds. Its settings are no defaults, and stand beside the figures.
fn eager(heap: &Heap) -> Result<Defragmenter> {
    let settings = heap.defragmenter().start_above(BACKGROUND_START_ABOVE);
    let settings =
        settings.stop_below(BACKGROUND_STOP_BELOW).full_effort_at(BACKGROUND_START_ABOVE);
    let settings = settings.cpu_share(BACKGROUND_CPU_SHARE, BACKGROUND_CPU_SHARE);
    let settings = settings.interval(BACKGROUND_INTERVAL);
    settings.start().context("no background defragmenter")
}

fn account(heap: &Heap, grown: u64) -> Account {
    let stats = heap.stats();
    let buffer_bytes = stats.resident.unwrap_or(stats.committed) as u64;
    Account {
        block_bytes: stats.live_bytes as u64,
        free_cell_bytes: stats.stripes.iter().map(|stripe| stripe.free_bytes as u64).sum(),
        pending_bytes: stats.pending_bytes as u64,
        cached_bytes: stats.cached_bytes as u64,
        buffer_bytes,
        outside_bytes: grown.saturating_sub(buffer_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_and_give_up<B: Blocks>(sizes: [usize; 2]) {
        let mut blocks = B::with_room(1 << 20).unwrap();
        let bytes = [7; 4096];
        let mut keys: Vec<_> =
            (0..1000).map(|at| blocks.insert(&bytes[..sizes[at % 2]]).unwrap()).collect();
        let defragmenter = blocks.start_background().unwrap();
        let last = keys.pop().unwrap();
        assert!(blocks.live().is_none_or(|live| live == 1000));
        keys.into_iter().for_each(|key| blocks.remove(key).unwrap());
        blocks.defragment();
        assert!(blocks.holds(&last, &bytes[..sizes[1]]));
        assert!(!blocks.holds(&last, &bytes[..sizes[1] - 1]));
        assert!(!blocks.holds(&last, &[&bytes[1..sizes[1]], &[8]].concat()));
        assert!(blocks.live().is_none_or(|live| live == 1));
        if let Some(defragmenter) = defragmenter {
            assert!(defragmenter.stop().last.is_none_or(|report| !report.own_guard));
            let account = blocks.account(1 << 40).unwrap();
            assert!(account.block_bytes >= sizes[1] as u64 && account.buffer_bytes > 0);
        }
    }

    #[test]
    fn all_keep_what_they_are_given() {
        keep_and_give_up::<SystemBlocks>([1, 4000]);
        keep_and_give_up::<HeapBlocks>([1, 4000]);
        keep_and_give_up::<Pools<150, 300>>([150, 300]);
        assert!(Pools::<150, 300>::with_room(1).unwrap().insert(&[0; 151]).is_err());
    }
}
