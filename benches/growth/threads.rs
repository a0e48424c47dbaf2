//! The costs that may depend on the number of threads and of stripes.
//!
//! Figures are nanoseconds of a core for one operation: the time that passes, times the cores that
//! can be at work, divided by the operations of all threads. Threads that do not disturb each other
//! keep it constant, whether they are more than the cores or not.

use crate::options::Plan;
use crate::stores::{Object, Store, object};
use crate::sweep::{Step, Sweep, turns};
use anyhow::{Context, Result, anyhow, ensure};
use benches::progress::Progress;
use serde_json::{Value, json};
use slotmap::SlotMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{Handle, Heap, Pool};

const THREADS: &str = "threads";

/// Objects that each thread replaces: what a thread touches while it has a core stays the same.
const REPLACED: u32 = 1000;
/// Objects that all threads read.
const READ: u32 = 1000;
/// Operations between two looks at the signal to stop.
const PIECE: usize = 64;

/// What replacing costs with so many stripes and threads: nanoseconds, round by round.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) stripes: Vec<usize>,
    /// One for each number of stripes, with a step for each number of threads.
    pub(crate) rows: Vec<Vec<Step>>,
}

/// Steps of progress that [`sweeps`] and [`grid`] report.
pub(crate) fn work(plan: &Plan) -> usize {
    2 * plan.rounds
}

/// Reading and replacing by the number of threads, with as many stripes as the heap takes by itself.
pub(crate) fn sweeps(plan: &Plan, progress: &Progress) -> Result<[Sweep; 2]> {
    let mut replace = Sweep::new("replace", THREADS, 1, &["pool", "a SlotMap each"]);
    let mut get = Sweep::new("get", THREADS, 2, &["one guard", "own guard", "shared SlotMap"]);
    for sweep in [&mut replace, &mut get] {
        let count = sweep.contestants.len();
        sweep.steps = plan.threads.iter().map(|it| Step::new(*it as u64, count)).collect();
    }
    for round in 0..plan.rounds {
        for turn in turns(round, plan.threads.len()) {
            let threads = plan.threads[turn];
            progress.say(format_args!("{threads} threads"));
            for one in turns(round, 2) {
                let sample = match one {
                    0 => replace_in_pool(None, threads, plan.span),
                    _ => replace_each(SlotMap::new, threads, plan.span),
                };
                let sample = sample.with_context(|| format!("replacing with {threads} threads"))?;
                replace.steps[turn].samples[one].push(sample);
            }
            let samples = read_all(threads, plan.span, round);
            let samples = samples.with_context(|| format!("reading with {threads} threads"))?;
            for (all, sample) in get.steps[turn].samples.iter_mut().zip(samples) {
                all.push(sample);
            }
        }
        progress.done();
    }
    Ok([replace, get])
}

/// Replacing by the number of stripes and of threads.
pub(crate) fn grid(plan: &Plan, progress: &Progress) -> Result<Grid> {
    let row = || plan.threads.iter().map(|threads| Step::new(*threads as u64, 1)).collect();
    let mut rows: Vec<Vec<Step>> = plan.stripes.iter().map(|_| row()).collect();
    let width = plan.threads.len();
    for round in 0..plan.rounds {
        for turn in turns(round, rows.len() * width) {
            let (stripes, threads) = (plan.stripes[turn / width], plan.threads[turn % width]);
            progress.say(format_args!("{stripes} stripes, {threads} threads"));
            let sample = replace_in_pool(Some(stripes), threads, plan.span);
            let sample = sample.with_context(|| format!("{stripes} stripes, {threads} threads"))?;
            rows[turn / width][turn % width].samples[0].push(sample);
        }
        progress.done();
    }
    Ok(Grid { stripes: plan.stripes.clone(), rows })
}

impl Grid {
    /// A row for each number of stripes, a column for each number of threads.
    pub(crate) fn table(&self) -> String {
        let steps = self.rows.first().into_iter().flatten();
        let mut head = vec!["stripes \\ threads".to_owned()];
        head.extend(steps.map(|step| step.count.to_string()));
        let row = |(stripes, steps): (&usize, &Vec<Step>)| {
            let cells = steps.iter().map(|step| format!("{:.1}", step.median(0)));
            std::iter::once(stripes.to_string()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = self.stripes.iter().zip(&self.rows).map(row).collect();
        benches::table::aligned(&head, &rows, 0)
    }

    /// One value a cell.
    pub(crate) fn json(&self) -> impl Iterator<Item = Value> {
        self.stripes.iter().zip(&self.rows).flat_map(|(stripes, steps)| {
            steps.iter().map(move |step| {
                json!({
                    "section": "stripes",
                    "operation": "replace",
                    "stripes": stripes,
                    "threads": step.count,
                    "contestant": "pool",
                    "ns": step.median(0),
                })
            })
        })
    }
}

/// Threads replace their own objects of one pool.
fn replace_in_pool(stripes: Option<usize>, threads: usize, span: Duration) -> Result<f64> {
    let builder = Heap::builder().capacity(64 << 20);
    let heap = match stripes {
        Some(stripes) => builder.stripes(stripes).build()?,
        None => builder.build()?,
    };
    let pool = Pool::<Object>::new(&heap)?;
    let sample = replace_each(|| &pool, threads, span)?;
    let expected = REPLACED as usize * threads;
    ensure!(pool.len() == expected, "{} objects are alive, not {expected}", pool.len());
    heap.verify()?;
    Ok(sample)
}

/// Each thread replaces random objects of its own, in the store that it is given.
fn replace_each<S: Store>(
    store: impl Fn() -> S + Sync,
    threads: usize,
    span: Duration,
) -> Result<f64> {
    core_ns(threads, span, |thread, start| {
        let first = thread as u32 * REPLACED;
        let mut store = store();
        let mut keys: Vec<_> = (0..REPLACED).map(|it| store.insert(first + it)).collect();
        let mut rng = fastrand::Rng::with_seed(thread as u64);
        let mut removed = Vec::with_capacity(PIECE);
        let mut pairs = 0;
        start(&mut || {
            removed.clear();
            for _ in 0..PIECE {
                let number = rng.u32(0..REPLACED);
                let key = &mut keys[number as usize];
                removed.push(*key);
                ensure!(store.remove(*key), "object {number} of thread {thread} is not there");
                *key = store.insert(first + number);
            }
            pairs += PIECE;
            Ok(())
        })?;
        for (number, key) in (first..).zip(&keys) {
            ensure!(store.object(*key) == Some(object(number)), "object {number} has changed");
        }
        let stale = removed.iter().all(|key| store.object(*key).is_none());
        ensure!(stale, "a key of a removed object still finds one");
        Ok(pairs)
    })
}

/// All threads read the same objects: of a pool under a guard for each pass, with a guard for each
/// read, and of a map that nobody changes. Another one is first in each round.
fn read_all(threads: usize, span: Duration, round: usize) -> Result<[f64; 3]> {
    let heap = Heap::builder().capacity(16 << 20).build()?;
    let pool = Pool::<Object>::new(&heap)?;
    let mut map = SlotMap::new();
    let handles: Vec<Handle<Object>> = (0..READ).map(|it| Store::insert(&mut &pool, it)).collect();
    let keys: Vec<_> = (0..READ).map(|it| Store::insert(&mut map, it)).collect();
    let mut samples = [0.0; 3];
    for one in turns(round, samples.len()) {
        samples[one] = match one {
            0 | 1 => read_each(&&pool, one, &handles, threads, span)?,
            _ => read_each(&map, 0, &keys, threads, span)?,
        };
    }
    Ok(samples)
}

/// Each thread reads all objects, in an order of its own.
fn read_each<S: Store + Sync>(
    store: &S,
    way: usize,
    keys: &[S::Key],
    threads: usize,
    span: Duration,
) -> Result<f64>
where
    S::Key: Sync,
{
    let expected = (0..u64::from(READ)).sum();
    core_ns(threads, span, |thread, start| {
        let mut keys = keys.to_vec();
        fastrand::Rng::with_seed(thread as u64).shuffle(&mut keys);
        let mut reads = 0;
        start(&mut || {
            ensure!(store.sum(way, &keys) == Some(expected), "thread {thread} read a wrong sum");
            reads += keys.len();
            Ok(())
        })?;
        Ok(reads)
    })
}

/// Repeats the piece of work that it is given until the time is up.
type Start<'a> = dyn Fn(&mut dyn FnMut() -> Result<()>) -> Result<()> + 'a;

/// Runs `work` on so many threads. It prepares itself, calls the function given to it with a piece of
/// work, checks, and gives the number of its operations. The result is nanoseconds of a core for one.
fn core_ns(
    threads: usize,
    span: Duration,
    work: impl Fn(usize, &Start<'_>) -> Result<usize> + Sync,
) -> Result<f64> {
    let (go, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (ready, all_ready) = mpsc::channel();
    let run = |thread: usize, ready: mpsc::Sender<()>| {
        work(thread, &|piece: &mut dyn FnMut() -> Result<()>| {
            // Fails where the main thread gave up, and then it has said stop.
            let _ = ready.send(());
            // Relaxed, both: signals; what the threads did is read after they were joined.
            while !go.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            // Once at least: a busy machine may not let the thread run before the time is up.
            loop {
                piece()?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        })
    };
    thread::scope(|scope| {
        let run = &run;
        let spawn = |thread| {
            let ready = ready.clone();
            scope.spawn(move || run(thread, ready))
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        drop(ready);
        // Fewer where a thread panicked; then the join below says so.
        all_ready.iter().take(threads).for_each(drop);
        let start = Instant::now();
        go.store(true, Ordering::Relaxed);
        thread::sleep(span);
        stop.store(true, Ordering::Relaxed);
        let time = start.elapsed();
        let mut operations = 0;
        for worker in workers {
            operations += worker.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        ensure!(operations > 0, "nothing was done");
        let cores = thread::available_parallelism().map_or(1, usize::from).min(threads);
        Ok(time.as_secs_f64() * 1e9 * cores as f64 / operations as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(5);

    #[test]
    fn threads_replace_and_read() {
        for threads in [1, 3] {
            assert!(replace_in_pool(Some(2), threads, SPAN).expect("right") > 0.0);
            assert!(replace_each(SlotMap::new, threads, SPAN).expect("right") > 0.0);
            let reads = read_all(threads, SPAN, threads).expect("right");
            assert!(reads.iter().all(|sample| *sample > 0.0));
        }
    }

    #[test]
    fn what_a_thread_finds_wrong_is_reported() {
        let error = core_ns(2, SPAN, |thread, start| {
            start(&mut || Ok(()))?;
            ensure!(thread == 0, "thread {thread} is unhappy");
            Ok(1)
        });
        assert_eq!(error.expect_err("reported").to_string(), "thread 1 is unhappy");
        let panics = core_ns(2, SPAN, |thread, _| {
            assert!(thread == 0, "before it is ready");
            Ok(1)
        });
        assert!(panics.is_err());
    }
}
