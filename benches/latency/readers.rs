//! Readers of objects that are moved and replaced meanwhile, and the scenes in which they are timed.

use crate::options::Options;
use crate::samples::{LONG, Samples, Schedule, Sifted, Turn};
use crate::watchdog::{Span, Waits, cores, start, stay_on};
use anyhow::{Context, Result, ensure};
use benches::object::Object;
use fastrand::Rng;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{DefragReport, Handle, Heap, Pool};

/// Objects that are made for each that stays: the others leave holes.
const MADE: usize = 4;

/// Reads that are timed as one, for the throughput, and one by one.
const AS_ONE: u32 = 256;
const ONE_BY_ONE: u32 = 64;

/// How long the background defragmentation gets.
const BACKGROUND: Duration = Duration::from_millis(150);

/// What goes on while reads are timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scene {
    Idle,
    Full,
    Background,
}

impl Scene {
    pub(crate) const ALL: [Self; 3] = [Self::Idle, Self::Full, Self::Background];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "nothing",
            Self::Full => "full defragmentation",
            Self::Background => "background defragmentation",
        }
    }
}

/// How reads follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// One after the other.
    Full,
    /// So many a second, whether the one before is done or not: a late one makes the next ones late.
    Rate(u32),
}

/// Objects are replaced: nothing is timed.
const NOT_TIMED: u8 = u8::MAX;

/// What readers and the mover share.
struct World {
    pool: Pool<Object>,
    /// Handles of the live objects.
    handles: Vec<AtomicU64>,
    /// Number of the scene.
    scene: AtomicU8,
    stop: AtomicBool,
}

/// What was seen at one pace.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) pace: Pace,
    /// One for each scene.
    pub(crate) scenes: Vec<(Scene, Sifted)>,
    pub(crate) full: Vec<DefragReport>,
    pub(crate) background_moves: u64,
    pub(crate) frozen: usize,
}

/// Times reads at one pace in all scenes, in turn.
pub(crate) fn measure(options: &Options, pace: Pace) -> Result<Outcome> {
    let objects = options.objects as usize;
    let bytes = objects * MADE * size_of::<Object>();
    let heap = Heap::builder().capacity((4 * bytes).max(16 << 20)).build()?;
    let pool = Pool::new(&heap)?;
    let handles = (0..objects).map(|_| AtomicU64::new(0)).collect();
    let (scene, stop) = (AtomicU8::new(NOT_TIMED), AtomicBool::new(false));
    let world = World { pool, handles, scene, stop };
    let mut rng = Rng::with_seed(1);
    world.replace_all(&mut rng)?;
    let cores = cores();
    let (first, last) = (cores.first().copied(), cores.last().copied());
    let (samples, moved, frozen) = thread::scope(|scope| -> Result<_> {
        let watchdogs = start(scope, &world.stop);
        let reader = scope.spawn(|| {
            stay_on(last);
            world.read(pace)
        });
        let mover = scope.spawn(|| {
            stay_on(first);
            let moved = world.play(options, &mut rng);
            world.stop.store(true, Ordering::Relaxed);
            moved
        });
        let moved = mover.join().expect("the mover does not panic")?;
        let samples = reader.join().expect("readers do not panic")?;
        let frozen: Vec<Span> = watchdogs
            .into_iter()
            .flat_map(|watchdog| watchdog.join().expect("watchdogs do not panic"))
            .collect();
        Ok((samples, moved, frozen))
    })?;
    world.pool.heap().verify().context("after the reads")?;
    let scenes = Scene::ALL.into_iter().zip(samples.iter().map(|it| it.sift(&frozen)));
    let scenes: Vec<_> = scenes.collect();
    for (scene, sifted) in &scenes {
        ensure!(
            !sifted.raw.is_empty(),
            "no read was timed during {}, at {}",
            scene.name(),
            crate::report::pace(pace)
        );
    }
    Ok(Outcome { pace, scenes, full: moved.0, background_moves: moved.1, frozen: frozen.len() })
}

impl World {
    /// Makes new objects, of which one of some stays in a place at random, in place of the old ones.
    fn replace_all(&self, rng: &mut Rng) -> Result<()> {
        let mut fresh = Vec::with_capacity(self.handles.len() * MADE);
        for _ in 0..self.handles.len() * MADE {
            fresh.push(self.pool.insert(Object::new(rng.u64(..)))?);
        }
        rng.shuffle(&mut fresh);
        for (place, handle) in self.handles.iter().zip(&fresh) {
            // AcqRel: readers find the object whole, and we the one before.
            let before = place.swap(handle.to_bits(), Ordering::AcqRel);
            if let Some(before) = Handle::from_bits(before) {
                ensure!(self.pool.remove(before), "an object is gone");
            }
        }
        for handle in &fresh[self.handles.len()..] {
            ensure!(self.pool.remove(*handle), "an object is gone");
        }
        self.pool.flush();
        Ok(())
    }

    /// Plays the scenes in turn; the reports of the full defragmentations, and the moves of the others.
    fn play(&self, options: &Options, rng: &mut Rng) -> Result<(Vec<DefragReport>, u64)> {
        let (mut full, mut background) = (Vec::new(), 0);
        let mut span = Duration::from_millis(20);
        for _ in 0..options.windows() {
            self.replace_all(rng)?;
            self.during(Scene::Idle, || thread::sleep(span));
            let report = self.during(Scene::Full, || self.pool.heap().defragment());
            span = report.elapsed.max(Duration::from_millis(5));
            full.push(report);
            self.replace_all(rng)?;
            let defragmenter = self.pool.heap().defragmenter().start()?;
            self.during(Scene::Background, || thread::sleep(BACKGROUND));
            background += defragmenter.stop().moves;
        }
        Ok((full, background))
    }

    fn during<R>(&self, scene: Scene, f: impl FnOnce() -> R) -> R {
        self.scene.store(scene as u8, Ordering::SeqCst);
        let result = f();
        self.scene.store(NOT_TIMED, Ordering::SeqCst);
        result
    }

    /// Reads until the end; the samples of each scene.
    fn read(&self, pace: Pace) -> Result<Vec<Samples>> {
        let mut samples: Vec<_> = Scene::ALL.iter().map(|_| Samples::new()).collect();
        let mut waits = Waits::new();
        let mut rng = Rng::with_seed(2);
        let mut turn = Turn::default();
        let mut schedule = Schedule::new(match pace {
            Pace::Full => Duration::ZERO,
            Pace::Rate(rate) => Duration::from_secs(1) / rate,
        });
        let mut before = NOT_TIMED;
        while !self.stop.load(Ordering::Relaxed) {
            let scene = self.scene.load(Ordering::Relaxed);
            turn.clear();
            match pace {
                Pace::Full => self.read_at_full_speed(&mut turn, &mut waits, &mut rng)?,
                Pace::Rate(_) => {
                    // Reads that are late in one scene make none late in the next, but all of the same.
                    if scene != before {
                        schedule.begin();
                    }
                    self.read_at_rate(scene, &mut schedule, &mut turn, &mut waits, &mut rng)?;
                }
            }
            // A turn belongs to the scene in which it began: a read that is kept waiting until the end of the
            // scene would be left out otherwise.
            if scene != NOT_TIMED {
                samples[usize::from(scene)].take(&turn);
            }
            before = scene;
        }
        Ok(samples)
    }

    fn read_at_full_speed(&self, turn: &mut Turn, waits: &mut Waits, rng: &mut Rng) -> Result<()> {
        waits.since();
        let start = Instant::now();
        for _ in 0..AS_ONE {
            self.read_one(rng)?;
        }
        let end = Instant::now();
        // A turn in which the thread did not run most of the time says nothing about reads.
        if end - start < LONG * 10 || waits.since() * 2 < end - start {
            turn.reads = u64::from(AS_ONE);
            turn.time = end - start;
        }
        waits.since();
        let mut last = Instant::now();
        for _ in 0..ONE_BY_ONE {
            self.read_one(rng)?;
            let now = Instant::now();
            turn.note(last, now - last, waits);
            last = if now - last > LONG { Instant::now() } else { now };
        }
        Ok(())
    }

    /// Makes the reads that are due: some, or if the scene ends meanwhile, all that were due before its end.
    fn read_at_rate(
        &self,
        scene: u8,
        schedule: &mut Schedule,
        turn: &mut Turn,
        waits: &mut Waits,
        rng: &mut Rng,
    ) -> Result<()> {
        waits.since();
        let start = Instant::now();
        let (mut now, mut ended) = (start, None);
        while ended.map_or(turn.reads < u64::from(ONE_BY_ONE), |ended| schedule.due() < ended) {
            while now < schedule.due() {
                if self.scene.load(Ordering::Relaxed) != scene {
                    turn.time = now - start;
                    return Ok(());
                }
                std::hint::spin_loop();
                now = Instant::now();
            }
            self.read_one(rng)?;
            now = Instant::now();
            schedule.note(now, turn, waits);
            turn.reads += 1;
            if ended.is_none() && self.scene.load(Ordering::Relaxed) != scene {
                ended = Some(now);
            }
        }
        turn.time = now - start;
        Ok(())
    }

    /// Reads a random object and checks it.
    #[inline(always)]
    fn read_one(&self, rng: &mut Rng) -> Result<()> {
        loop {
            let place = &self.handles[rng.usize(..self.handles.len())];
            // Acquire: pairs with the swap of `replace_all`.
            let handle = Handle::from_bits(place.load(Ordering::Acquire)).context("no handle")?;
            if let Some(object) = self.pool.get(handle) {
                ensure!(*object == Object::new(object.value), "an object is torn");
                return Ok(());
            }
            // Replaced between the two loads.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_were_due_before_the_end_of_a_scene_belong_to_it() {
        let heap = Heap::builder().capacity(16 << 20).build().expect("there is room");
        let pool = Pool::new(&heap).expect("there is room");
        let handles = (0..100).map(|_| AtomicU64::new(0)).collect();
        let scene = AtomicU8::new(Scene::Full as u8);
        let world = World { pool, handles, scene, stop: AtomicBool::new(false) };
        let (mut rng, mut waits) = (Rng::with_seed(1), Waits::new());
        world.replace_all(&mut rng).expect("they are there");
        let mut schedule = Schedule::new(Duration::from_micros(10));
        let mut turn = |schedule: &mut Schedule| {
            let mut turn = Turn::default();
            world
                .read_at_rate(Scene::Full as u8, schedule, &mut turn, &mut waits, &mut rng)
                .expect("right");
            turn
        };
        assert_eq!(turn(&mut schedule).reads, u64::from(ONE_BY_ONE));
        // As a reader that is kept waiting until the scene is over.
        schedule.begin();
        thread::sleep(Duration::from_millis(5));
        world.scene.store(NOT_TIMED, Ordering::SeqCst);
        assert!(turn(&mut schedule).reads >= 500);
        // Nothing more is due.
        let mut later = Schedule::new(Duration::from_secs(60));
        let (first, second) = (turn(&mut later), turn(&mut later));
        assert_eq!((first.reads, second.reads), (1, 0));
    }
}
