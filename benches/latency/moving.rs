//! How fast blocks are moved, against bare copies of the same bytes from and to the same offsets.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::hint::black_box;
use std::time::{Duration, Instant};
use typed_pool::{Handle, Heap, Pool};

/// Bytes of the objects before some are removed, and the share that stays: one of so many.
const FILLED: usize = 64 << 20;
const STAYS: usize = 4;

/// Moves of objects of one size.
#[derive(Clone, Debug)]
pub(crate) struct Moves {
    pub(crate) bytes: usize,
    /// One for each round.
    pub(crate) rounds: Vec<Round>,
}

/// One full defragmentation, and the copies beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) moves: u64,
    pub(crate) useful: u64,
    pub(crate) moved_bytes: u64,
    /// Of the whole call, and without giving pages back to the system.
    pub(crate) time: Duration,
    pub(crate) moving: Duration,
    /// Bytes a second, without that.
    pub(crate) speed: f64,
    pub(crate) copy_speed: f64,
    /// Of what the forecast said.
    pub(crate) forecast: Duration,
    pub(crate) forecast_moves: u64,
}

impl Round {
    /// Moves a second of the whole call.
    pub(crate) fn whole_rate(&self) -> f64 {
        self.moves as f64 / self.time.as_secs_f64()
    }

    /// Moves a second, without giving pages back.
    pub(crate) fn rate(&self) -> f64 {
        self.moves as f64 / self.moving.as_secs_f64()
    }

    /// Bytes a second of the whole call.
    pub(crate) fn whole_speed(&self) -> f64 {
        self.moved_bytes as f64 / self.time.as_secs_f64()
    }

    /// Bytes a second, without giving pages back.
    pub(crate) fn own_speed(&self) -> f64 {
        self.speed
    }
}

impl Moves {
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let mut figures: Vec<_> = self.rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Moves of all sizes.
pub(crate) fn measure(rounds: u64) -> Result<Vec<Moves>> {
    let mut all: Vec<Moves> =
        [64, 512, 4096, 32 << 10].map(|bytes| Moves { bytes, rounds: Vec::new() }).into();
    for seed in 0..rounds {
        for moves in &mut all {
            moves.rounds.push(match moves.bytes {
                64 => round::<8>(seed),
                512 => round::<64>(seed),
                4096 => round::<512>(seed),
                _ => round::<4096>(seed),
            }?);
        }
    }
    Ok(all)
}

fn object<const W: usize>(number: usize) -> [u64; W] {
    std::array::from_fn(|word| ((number as u64) << 32) + word as u64)
}

/// Fills a heap with objects of `W` words, removes most of them at random and defragments it.
fn round<const W: usize>(seed: u64) -> Result<Round> {
    let bytes = W * size_of::<u64>();
    let heap = Heap::builder().capacity(2 * FILLED).build()?;
    let pool = Pool::<[u64; W]>::new(&heap)?;
    let mut live = Vec::new();
    for number in 0..FILLED / bytes {
        live.push((number, pool.insert(object(number))?));
    }
    Rng::with_seed(seed).shuffle(&mut live);
    for (_, handle) in live.drain(live.len() / STAYS..) {
        ensure!(pool.remove(handle), "an object is gone");
    }
    pool.flush();
    let before = places(&pool, &live)?;
    let forecast = heap.forecast();
    evict();
    let start = Instant::now();
    let report = heap.defragment();
    let time = start.elapsed();
    ensure!(report.complete, "not complete: {report}");
    let after = places(&pool, &live)?;
    let guard = pool.enter();
    for (number, handle) in &live {
        ensure!(guard.get(*handle) == Some(&object(*number)), "object {number} has changed");
    }
    drop(guard);
    heap.verify().context("after the moves")?;
    Ok(Round {
        moves: report.moves,
        useful: report.useful_moves,
        moved_bytes: report.moved_bytes,
        time,
        moving: time.saturating_sub(report.releasing),
        speed: report.bytes_per_second(),
        copy_speed: copy_speed(&before, &after, bytes),
        forecast: forecast.duration,
        forecast_moves: forecast.moves,
    })
}

/// Where the objects are.
fn places<const W: usize>(
    pool: &Pool<[u64; W]>,
    live: &[(usize, Handle<[u64; W]>)],
) -> Result<Vec<usize>> {
    let guard = pool.enter();
    let place = |handle| Some(guard.get(handle)?.as_ptr().addr());
    let places: Option<Vec<usize>> = live.iter().map(|(_, handle)| place(*handle)).collect();
    places.context("an object is gone")
}

/// Fills the caches with something else: neither the moves nor the copies find their bytes there.
fn evict() {
    black_box(vec![1_u8; FILLED]);
}

/// Bytes a second of one thread that makes the same copies in a buffer that is there already.
fn copy_speed(before: &[usize], after: &[usize], bytes: usize) -> f64 {
    let base = before.iter().chain(after).min().copied().unwrap_or(0);
    let top = before.iter().chain(after).max().copied().unwrap_or(0) + bytes;
    let mut copies: Vec<_> = before
        .iter()
        .zip(after)
        .filter(|(from, to)| from != to)
        .map(|(from, to)| (from - base, to - base))
        .collect();
    copies.sort_unstable();
    let mut buffer = vec![1_u8; top - base];
    evict();
    let start = Instant::now();
    for (from, to) in &copies {
        buffer.copy_within(*from..*from + bytes, *to);
    }
    let time = start.elapsed();
    black_box(&buffer);
    (copies.len() * bytes) as f64 / time.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_timed() {
        let (before, after) = ([10_000, 20_000, 30_000], [10_000, 12_000, 14_000]);
        assert!(copy_speed(&before, &after, 64) > 0.0);
        let moves = Moves { bytes: 4096, rounds: vec![round::<512>(1).expect("right")] };
        assert!(moves.median(|it| it.moves as f64) > 1000.0);
        assert!(moves.median(|it| it.speed) > 0.0);
    }
}
