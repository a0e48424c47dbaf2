//! The blocks that are live: their keys and what they have to hold.

use crate::footprint::blocks::Blocks;
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::hint::black_box;

/// Different places that the bytes of a block can be copied from.
const STARTS: usize = 1 << 16;

/// A block.
#[derive(Debug)]
struct Entry<K> {
    key: Option<K>,
    size: u32,
    /// How many blocks came before it; says what it holds.
    number: u32,
}

/// Room for the keys, and the bytes that blocks are given: what belongs to the caller. All of it is
/// resident from the start.
#[derive(Debug)]
pub struct Room<K> {
    entries: Vec<Entry<K>>,
    pattern: Vec<u8>,
}

impl<K> Room<K> {
    /// For so many blocks at a time, of so many bytes at most.
    #[must_use]
    pub fn new(blocks: usize, size_max: u32) -> Self {
        let mut entries = Vec::with_capacity(blocks);
        entries.resize_with(blocks, || Entry { key: None, size: 1, number: 1 });
        black_box(&mut entries).clear();
        let mut pattern = vec![0; STARTS + size_max as usize];
        Rng::with_seed(0).fill(&mut pattern);
        Self { entries, pattern }
    }

    /// What the block of a number holds.
    #[inline]
    fn bytes(&self, number: u32, size: u32) -> &[u8] {
        // An odd factor: neighbours begin far apart.
        let start = number.wrapping_mul(0x9e37_79b1) as usize % STARTS;
        &self.pattern[start..start + size as usize]
    }
}

/// Some blocks, and who keeps them.
#[derive(Debug)]
pub struct Live<B: Blocks> {
    blocks: B,
    room: Room<B::Key>,
    bytes: u64,
    bytes_max: u64,
    next: u32,
}

impl<B: Blocks> Live<B> {
    /// None yet.
    pub fn new(blocks: B, room: Room<B::Key>) -> Self {
        Self { blocks, room, bytes: 0, bytes_max: 0, next: 0 }
    }

    /// Who keeps them.
    pub fn blocks(&mut self) -> &mut B {
        &mut self.blocks
    }

    /// Payload of all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most that it ever was.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.entries.is_empty()
    }

    /// Adds one of `size` bytes, at the last place.
    ///
    /// # Errors
    /// There is no room for it, or none for its key.
    #[inline]
    pub fn insert(&mut self, size: u32) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let key = Some(self.blocks.insert(self.room.bytes(number, size))?);
        let entries = &mut self.room.entries;
        ensure!(entries.len() < entries.capacity(), "more blocks than were expected");
        entries.push(Entry { key, size, number });
        self.bytes += u64::from(size);
        self.bytes_max = self.bytes_max.max(self.bytes);
        Ok(())
    }

    /// Removes the one at a place, which the last one takes; its size.
    ///
    /// # Errors
    /// The block is gone already.
    #[inline]
    pub fn remove(&mut self, place: usize) -> Result<u32> {
        let Entry { key, size, .. } = self.room.entries.swap_remove(place);
        self.blocks.remove(key.context("a block was removed twice")?)?;
        self.bytes -= u64::from(size);
        Ok(size)
    }

    /// Removes a random one; its size.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), or there are none.
    #[inline]
    pub fn remove_random(&mut self, rng: &mut Rng) -> Result<u32> {
        ensure!(!self.is_empty(), "nothing is left to remove");
        self.remove(rng.usize(..self.len()))
    }

    /// Removes every other one, in turn.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn remove_every_other(&mut self) -> Result<()> {
        let Self { blocks, room, bytes, .. } = self;
        for entry in room.entries.iter_mut().step_by(2) {
            blocks.remove(entry.key.take().context("a block was removed twice")?)?;
            *bytes -= u64::from(entry.size);
        }
        room.entries.retain(|entry| entry.key.is_some());
        Ok(())
    }

    /// How many blocks were inserted before the one at a place.
    #[inline]
    #[must_use]
    pub fn number(&self, place: usize) -> u32 {
        self.room.entries[place].number
    }

    /// Looks at every byte of every block.
    ///
    /// # Errors
    /// Bytes that are not what they were, or a block too many or too few.
    pub fn verify(&self) -> Result<()> {
        for Entry { key, size, number } in &self.room.entries {
            let key = key.as_ref().context("a block without a key")?;
            let holds = self.blocks.holds(key, self.room.bytes(*number, *size));
            ensure!(holds, "block {number} of {size} bytes does not hold what it was given");
        }
        let (expected, found) = (self.len() as u64, self.blocks.live());
        ensure!(
            found.is_none_or(|found| found == expected),
            "there should be {expected} blocks and not {found:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::blocks::{HeapBlocks, SystemBlocks};

    fn live<B: Blocks>() -> Live<B> {
        Live::new(B::with_room(1 << 20).unwrap(), Room::new(10, 100))
    }

    #[test]
    fn payload_is_counted() {
        let mut live = live::<HeapBlocks>();
        for size in [10, 20, 30, 40, 50] {
            live.insert(size).unwrap();
        }
        assert_eq!([live.number(0), live.number(4)], [0, 4]);
        assert_eq!(live.remove(0).unwrap(), 10);
        // In turn: the last one took the first place.
        live.remove_every_other().unwrap();
        assert_eq!((live.len(), live.bytes(), live.bytes_max()), (2, 60, 150));
        live.verify().unwrap();
        live.remove_random(&mut Rng::with_seed(1)).unwrap();
        live.remove_random(&mut Rng::with_seed(1)).unwrap();
        assert!(live.is_empty() && live.remove_random(&mut Rng::with_seed(1)).is_err());
        live.verify().unwrap();
    }

    #[test]
    fn more_blocks_than_there_are_keys_for_are_refused() {
        let mut live = live::<SystemBlocks>();
        (0..10).for_each(|_| live.insert(1).unwrap());
        assert!(live.insert(1).is_err());
    }

    #[test]
    fn neighbours_hold_different_bytes() {
        let room = Room::<()>::new(1, 16);
        let bytes: std::collections::HashSet<_> =
            (0..1000).map(|number| room.bytes(number, 16)).collect();
        assert_eq!(bytes.len(), 1000);
    }
}
