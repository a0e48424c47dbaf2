//! A full defragmentation, timed and checked, and the reference beside it: a bare loop that makes the
//! same copies.

use anyhow::{Result, ensure};
use std::hint::black_box;
use std::time::{Duration, Instant};
use typed_pool::{Handle, Pool};

/// Objects of `W` words in a pool: the numbers that they are made from, and their handles.
#[derive(Debug)]
pub(crate) struct Sparse<'p, const W: usize> {
    pub(crate) pool: &'p Pool<[u64; W]>,
    pub(crate) live: Vec<(u32, Handle<[u64; W]>)>,
    /// The number of the next object: no two are the same.
    next: u32,
}

/// What a defragmentation did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defragmented {
    pub(crate) time: Duration,
    pub(crate) moves: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) freed_bytes: u64,
    /// The bare loop: its time, and objects that it copied. Fewer than were moved where one was moved
    /// twice.
    pub(crate) bare_time: Duration,
    pub(crate) bare_copies: u64,
}

impl Defragmented {
    pub(crate) fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.moves += other.moves;
        self.moved_bytes += other.moved_bytes;
        self.freed_bytes += other.freed_bytes;
        self.bare_time += other.bare_time;
        self.bare_copies += other.bare_copies;
    }

    pub(crate) fn move_ns(&self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.moves as f64
    }

    pub(crate) fn bare_ns(&self) -> f64 {
        self.bare_time.as_secs_f64() * 1e9 / self.bare_copies as f64
    }
}

/// The object of a number; no two words are the same.
pub(crate) fn words<const W: usize>(number: u32) -> [u64; W] {
    std::array::from_fn(|word| (u64::from(number) << 32) + word as u64)
}

impl<'p, const W: usize> Sparse<'p, W> {
    /// Fills the pool.
    pub(crate) fn new(pool: &'p Pool<[u64; W]>, objects: u32) -> Self {
        let mut sparse = Self { pool, live: Vec::new(), next: 0 };
        sparse.insert_more(objects);
        sparse
    }

    /// Puts `objects` in.
    pub(crate) fn insert_more(&mut self, objects: u32) {
        let insert = |number| (number, self.pool.insert(words(number)).expect("room"));
        self.live.extend((self.next..self.next + objects).map(insert));
        self.next += objects;
    }

    /// Removes `count` random objects.
    pub(crate) fn thin_out(&mut self, count: usize, seed: u64) -> Result<()> {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..count {
            let (number, handle) = self.live.swap_remove(rng.usize(0..self.live.len()));
            ensure!(self.pool.remove(handle), "object {number} is not there");
        }
        Ok(())
    }

    /// Where the objects are.
    fn places(&self) -> Result<Vec<usize>> {
        let guard = self.pool.enter();
        let place = |handle| Some(guard.get(handle)?.as_ptr().addr());
        let places: Option<Vec<usize>> = self.live.iter().map(|(_, it)| place(*it)).collect();
        places.ok_or_else(|| anyhow::anyhow!("an object is gone"))
    }

    /// Looks at every object.
    pub(crate) fn verify(&self) -> Result<()> {
        let guard = self.pool.enter();
        for (number, handle) in &self.live {
            let found = guard.get(*handle) == Some(&words(*number));
            ensure!(found, "object {number} is gone or has changed");
        }
        ensure!(self.pool.len() == self.live.len(), "{} are alive", self.pool.len());
        Ok(())
    }

    /// Defragments fully, then makes the same copies without a heap.
    pub(crate) fn defragment(&self) -> Result<Defragmented> {
        self.pool.flush();
        let before = self.places()?;
        let start = Instant::now();
        let report = self.pool.heap().defragment();
        let time = start.elapsed();
        ensure!(report.complete, "not complete: {report}");
        self.verify()?;
        let after = self.places()?;
        let copies = self.copies(&before, &after);
        ensure!(
            copies.len() as u64 <= report.moves,
            "{} moves, {} moved",
            report.moves,
            copies.len()
        );
        Ok(Defragmented {
            time,
            moves: report.moves,
            moved_bytes: report.moved_bytes,
            freed_bytes: report.freed_bytes,
            bare_time: bare::<W>(&copies),
            bare_copies: copies.len() as u64,
        })
    }

    /// What was moved from where to where, in words from the lowest place.
    fn copies(&self, before: &[usize], after: &[usize]) -> Vec<Copy> {
        let base = before.iter().chain(after).min().copied().unwrap_or(0);
        let word = |place: usize| (place - base) / size_of::<u64>();
        let places = before.iter().zip(after).zip(&self.live);
        let moved = places.filter(|((from, to), _)| from != to);
        let copy = |((from, to), (_, handle)): ((&usize, &usize), &(u32, Handle<_>))| Copy {
            from: word(*from),
            to: word(*to),
            slot: handle.index(),
        };
        let mut copies: Vec<_> = moved.map(copy).collect();
        copies.sort_unstable_by_key(|copy| copy.from);
        copies
    }
}

/// One copy of the bare loop, and the entry of a table that it writes.
#[derive(Clone, Copy, Debug)]
struct Copy {
    from: usize,
    to: usize,
    slot: u32,
}

/// The time to make the copies in a buffer of their own, and to write the new place of each into
/// a table: the cache misses of the moves, and nothing else.
fn bare<const W: usize>(copies: &[Copy]) -> Duration {
    let words = copies.iter().map(|copy| copy.from.max(copy.to) + W).max().unwrap_or(0);
    let slots = copies.iter().map(|copy| copy.slot as usize + 1).max().unwrap_or(0);
    // Not zero: each page has to be there.
    let (mut buffer, mut table) = (vec![1_u64; words], vec![1_u64; slots]);
    let start = Instant::now();
    for copy in copies {
        buffer.copy_within(copy.from..copy.from + W, copy.to);
        table[copy.slot as usize] = copy.to as u64;
    }
    let time = start.elapsed();
    black_box((&buffer, &table));
    time
}

#[cfg(test)]
mod tests {
    use super::*;
    use typed_pool::Heap;

    #[test]
    fn what_is_moved_is_found_and_copied_again() {
        let heap = Heap::builder().capacity(4 << 20).page_size(4 << 10).build().expect("a heap");
        let pool = Pool::<[u64; 8]>::new(&heap).expect("a pool");
        let mut sparse = Sparse::new(&pool, 4000);
        sparse.thin_out(3000, 1).expect("all are there");
        let done = sparse.defragment().expect("right");
        assert!(done.moves >= 300 && done.bare_copies >= 300, "{done:?}");
        assert_eq!(done.moved_bytes, done.moves * 64);
        sparse.verify().expect("nothing has changed");
    }

    #[test]
    fn a_lost_object_is_noticed() {
        let pool = Pool::<[u64; 8]>::with_capacity(100).expect("a pool");
        let sparse = Sparse::new(&pool, 100);
        pool.remove(sparse.live[17].1);
        assert!(sparse.verify().is_err() && sparse.defragment().is_err());
    }
}
