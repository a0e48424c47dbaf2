//! Sections and grace periods.

use super::modelling::{UNBOUNDED, explore};
use super::{AWAY, Attempt, Bare, HOME};
use crate::grace::Grace;
use crate::guard::{Guard, Readers};
use crate::sync::Arc;
use loom::thread;

/// A new object is whole for whoever finds it.
#[test]
fn read_against_bare_publish() {
    explore(UNBOUNDED, ["found", "not yet there"], |[found, missing]| {
        let bare = Arc::new(Bare::vacant());
        let inserter = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.publish()
        });
        let place = bare.read();
        found.reached_if(place == Some(HOME));
        missing.reached_if(place.is_none());
        inserter.join().unwrap();
        assert_eq!(bare.read(), Some(HOME));
    });
}

/// A block is free when its grace period is over, and no section that found it is open then. `read` is what the reader does;
/// it gives the place that it found.
fn reclaim_against(read: fn(&Bare) -> Option<u32>) {
    let paths = ["over", "not over", "found", "stale"];
    explore(UNBOUNDED, paths, move |[over, not_over, found, stale]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || read(&bare)
        });
        let (mut grace, is_over) = bare.reclaim();
        assert!(is_over || grace.open_guards() == 1);
        over.reached_if(is_over);
        not_over.reached_if(!is_over);
        let place = reader.join().unwrap();
        found.reached_if(place == Some(HOME));
        stale.reached_if(place.is_none());
        assert!(grace.poll(), "nobody reads any more");
        assert_eq!(bare.read(), None);
    });
}

#[test]
fn reclaim_against_bare_reader() {
    reclaim_against(Bare::read);
}

/// A guard that is opened and closed inside a section does not end it.
#[test]
fn reclaim_against_nesting_bare_reader() {
    reclaim_against(|bare| {
        let _outer = bare.enter();
        let place = bare.locate();
        let _reading = place.map(|place| bare.place(place).look());
        drop(bare.enter());
        place
    });
}

/// Sections of one heap do not count for another, also where they are nested in each other. Unbounded it
/// takes minutes.
#[test]
fn guards_of_two_bare_heaps() {
    let paths = ["moved while the other heap's section was open", "cancelled"];
    explore(Some(5), paths, |[moved, cancelled]| {
        let bare = Arc::new(Bare::new());
        let other = Arc::new(Readers::new(false));
        let reader = thread::spawn({
            let (bare, other) = (Arc::clone(&bare), Arc::clone(&other));
            move || {
                let outer = Guard::enter(&other);
                let place = bare.read();
                // Forgotten: it stays open for ever, of the other heap.
                std::mem::forget(outer);
                place.expect("the object is there all the time")
            }
        });
        let inner = Guard::enter(&other);
        let attempt = bare.relocate(HOME, AWAY);
        reader.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        cancelled.reached_if(attempt == Attempt::Lost);
        assert!(Grace::start(&bare.readers).poll(), "no section of this heap is open");
        let mut grace = Grace::start(&other);
        assert!(!grace.poll() && grace.waits_for_caller());
        assert_eq!(grace.open_guards(), 2);
        drop(inner);
        assert!(!grace.poll() && !grace.waits_for_caller());
        assert_eq!(grace.open_guards(), 1);
    });
}

/// A thread that ends leaves its record, with its count, to the next one. Three threads: bounded.
#[test]
fn thread_exit_hands_bare_record_on() {
    let paths = ["one record for both", "two records", "moved"];
    explore(Some(3), paths, |[one, two, moved]| {
        let bare = Arc::new(Bare::new());
        let spawn_reader = || {
            let bare = Arc::clone(&bare);
            thread::spawn(move || bare.read().expect("the object is there all the time"))
        };
        let readers = [spawn_reader(), spawn_reader()];
        let attempt = bare.relocate(HOME, AWAY);
        for reader in readers {
            reader.join().unwrap();
        }
        moved.reached_if(attempt == Attempt::Moved);
        let records = bare.readers.iter().count();
        one.reached_if(records == 1);
        two.reached_if(records == 2);
        assert!(records <= 2);
        assert!(bare.read().is_some());
    });
}
