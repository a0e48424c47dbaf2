//! Moves against readers, removers and writers.

use super::modelling::{UNBOUNDED, explore};
use super::{AWAY, Attempt, Bare, FURTHER, HOME, POISON, VALUE, handle};
use crate::grace::Grace;
use crate::slot;
use crate::sync::Arc;
use loom::thread;

/// A reader finds the old place before the lock or the new one after it, and the mover never copies under it.
#[test]
fn read_against_move() {
    let paths = ["moved", "cancelled", "read at the old place", "read at the new place"];
    explore(UNBOUNDED, paths, |[moved, cancelled, old, new]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.read().expect("the object is there all the time")
        });
        let attempt = bare.relocate(HOME, AWAY);
        let place = reader.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        cancelled.reached_if(attempt == Attempt::Lost);
        old.reached_if(attempt == Attempt::Moved && place == HOME);
        new.reached_if(place == AWAY);
        assert_eq!(bare.read(), Some(if attempt == Attempt::Moved { AWAY } else { HOME }));
    });
}

/// A mover that only looks whether readers are there takes its mark back.
#[test]
fn read_against_hasty_move() {
    let paths = ["moved", "cancelled", "given up"];
    explore(UNBOUNDED, paths, |[moved, cancelled, given_up]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.read().expect("the object is there all the time")
        });
        let attempt = bare.try_relocate(HOME, AWAY);
        reader.join().unwrap();
        moved.reached_if(attempt == Some(Attempt::Moved));
        cancelled.reached_if(attempt == Some(Attempt::Lost));
        given_up.reached_if(attempt.is_none());
        assert!(bare.read().is_some());
    });
}

/// The mover may see only the second announcement of a reader: it must see the first section's reads too.
#[test]
fn reentering_reader() {
    let paths = ["moved", "cancelled", "moved between the sections"];
    explore(UNBOUNDED, paths, |[moved, cancelled, between]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || [bare.read(), bare.read()]
        });
        let attempt = bare.relocate(HOME, AWAY);
        let places = reader.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        cancelled.reached_if(attempt == Attempt::Lost);
        between.reached_if(places == [Some(HOME), Some(AWAY)]);
        assert_ne!(places, [Some(AWAY), Some(HOME)]);
    });
}

/// A section is open while the object is marked, cancelled and marked again: the second mark needs a grace
/// period of its own, which waits for the section.
#[test]
fn cancel_and_remark() {
    let paths = ["moved at the second attempt", "cancelled twice"];
    explore(UNBOUNDED, paths, |[second, twice]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let _guard = bare.enter();
                let first = bare.locate().expect("the object is there all the time");
                let reading = bare.place(first).look();
                let again = bare.locate().expect("the object is there all the time");
                assert_eq!(first, again, "the object moved under an open section");
                drop(reading);
            }
        });
        let attempts = [bare.relocate(HOME, AWAY), bare.relocate(HOME, AWAY)];
        reader.join().unwrap();
        second.reached_if(attempts == [Attempt::Lost, Attempt::Moved]);
        twice.reached_if(attempts == [Attempt::Lost, Attempt::Lost]);
        assert!(bare.read().is_some());
    });
}

/// Exactly one of a removal and the lock of a move wins, and the remover is told where the block is by then.
#[test]
fn move_against_remove() {
    let paths =
        ["removed at the old place", "removed at the new place", "the removal beat the move"];
    explore(UNBOUNDED, paths, |[old, new, beaten]| {
        let bare = Arc::new(Bare::new());
        let remover = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let offset = slot::unlink(&bare.word, handle()).expect("nobody else removes it");
                assert!(Grace::start(&bare.readers).wait(None));
                assert_eq!(bare.place(offset).copy(), VALUE);
                bare.place(offset).write(POISON);
                offset
            }
        });
        let attempt = bare.relocate(HOME, AWAY);
        let offset = remover.join().unwrap();
        old.reached_if(offset == HOME);
        new.reached_if(offset == AWAY);
        beaten.reached_if(attempt == Attempt::Lost);
        assert_eq!(attempt == Attempt::Moved, offset == AWAY);
        assert_eq!(bare.read(), None, "a stale handle found something");
    });
}

/// A replacement is swung in, or refused because the object is elsewhere by now; never both moved and swung.
#[test]
fn replace_against_move() {
    let paths = ["swung", "refused", "beat the move"];
    explore(UNBOUNDED, paths, |[swung, refused, beaten]| {
        let bare = Arc::new(Bare::new());
        let writer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                bare.place(FURTHER).write(VALUE);
                let guard = bare.enter();
                let old = bare.locate().expect("the object is there all the time");
                drop(bare.place(old).look());
                let done = slot::swing(&bare.word, handle(), old, FURTHER);
                drop(guard);
                if done {
                    assert!(Grace::start(&bare.readers).wait(None));
                    bare.place(old).write(POISON);
                }
                done
            }
        });
        let attempt = bare.relocate(HOME, AWAY);
        // Also a reader: the new bytes are published by the swing.
        let place = bare.read().expect("the object is there all the time");
        let done = writer.join().unwrap();
        swung.reached_if(done && place == FURTHER);
        refused.reached_if(!done);
        beaten.reached_if(done && attempt == Attempt::Lost);
        assert_eq!(bare.read() == Some(FURTHER), done);
    });
}
