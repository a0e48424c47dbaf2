//! Asymmetric heaps, whose records are fenced or light: what a grace period may do without a system call.
//!
//! In these models a record becomes light with its first section, and settles whenever a grace period has the
//! lock for it; the barriers are those of `sync.rs`.

use super::Bare;
use super::modelling::{Path, explore};
use crate::grace::Grace;
use crate::sync::Arc;
use loom::thread::{self, JoinHandle};

/// What became of a read and a reclamation; the reclaiming thread's barrier was a fence, or a system call.
const PATHS: [&str; 5] = ["fence", "system call", "reclaimed", "found", "stale"];

/// Spawns a thread that reads the object so many times, each in a section of its own; whether it found it each
/// time.
fn spawn_reader<const N: usize>(bare: &Arc<Bare>) -> JoinHandle<[bool; N]> {
    let bare = Arc::clone(bare);
    thread::spawn(move || std::array::from_fn(|_| bare.read().is_some()))
}

/// Leaves a light record to the next thread.
fn leave_light_record(bare: &Arc<Bare>) {
    assert_eq!(spawn_reader::<1>(bare).join().unwrap(), [true]);
    assert_eq!(bare.readers.iter().count(), 1);
}

fn note<const N: usize>(paths: [&Path; 5], reclaimed: (Grace, bool), reads: [bool; N]) {
    let [fence, system_call, over, found, stale] = paths;
    let (grace, is_over) = reclaimed;
    fence.reached_if(grace.is_quiet());
    system_call.reached_if(!grace.is_quiet());
    over.reached_if(is_over);
    found.reached_if(reads.contains(&true));
    stale.reached_if(reads.contains(&false));
}

/// A record is new and fenced, or becomes light meanwhile. Unbounded it takes minutes.
#[test]
fn reclaim_against_bare_newcomer() {
    explore(Some(4), PATHS, |paths| {
        let bare = Arc::new(Bare::asymmetric());
        let reader = spawn_reader::<2>(&bare);
        let reclaimed = bare.reclaim();
        note(paths, reclaimed, reader.join().unwrap());
    });
}

/// A record is light, and fenced by the grace period before, which the second one relies on; it becomes light again.
#[test]
fn reclaim_against_settled_bare_reader() {
    explore(Some(3), PATHS, |paths| {
        let bare = Arc::new(Bare::asymmetric());
        leave_light_record(&bare);
        let reader = spawn_reader::<2>(&bare);
        assert!(!Grace::start(&bare.readers).is_quiet());
        let reclaimed = bare.reclaim();
        note(paths, reclaimed, reader.join().unwrap());
    });
}

/// A guard inside a section has no barrier of its own: what is read under it is seen with the section, and what was read
/// in the section before with either.
#[test]
fn reclaim_against_nesting_light_bare_reader() {
    let paths = ["reclaimed", "found", "stale"];
    explore(Some(3), paths, |[over, found, stale]| {
        let bare = Arc::new(Bare::asymmetric());
        leave_light_record(&bare);
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let before = bare.read().is_some();
                let _outer = bare.enter();
                [before, bare.read().is_some()]
            }
        });
        let (_, is_over) = bare.reclaim();
        let reads = reader.join().unwrap();
        over.reached_if(is_over);
        found.reached_if(reads.contains(&true));
        stale.reached_if(reads.contains(&false));
    });
}

/// A record is light, and somebody else lets it settle. Three threads: bounded.
#[test]
fn reclaim_against_settling_bare_reader() {
    explore(Some(2), PATHS, |paths| {
        let bare = Arc::new(Bare::asymmetric());
        leave_light_record(&bare);
        let settling = thread::spawn({
            let bare = Arc::clone(&bare);
            move || drop(Grace::start(&bare.readers))
        });
        let reader = spawn_reader::<1>(&bare);
        let reclaimed = bare.reclaim();
        settling.join().unwrap();
        note(paths, reclaimed, reader.join().unwrap());
    });
}

/// A record becomes light while two others let it settle, one after the other: what the second one says of it holds.
/// Three threads: bounded.
#[test]
fn settling_against_settling() {
    explore(Some(2), PATHS, |paths| {
        let bare = Arc::new(Bare::asymmetric());
        leave_light_record(&bare);
        let settling = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.readers.order_readers()
        });
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                drop(bare.enter());
                [bare.read().is_some()]
            }
        });
        bare.readers.order_readers();
        let reclaimed = bare.reclaim();
        settling.join().unwrap();
        note(paths, reclaimed, reader.join().unwrap());
    });
}
