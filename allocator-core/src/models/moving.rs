//! Moves against readers, removers and writers.

use super::modelling::{UNBOUNDED, explore};
use super::{AWAY, Attempt, Bare, FURTHER, HOME, POISON, VALUE, handle};
use crate::grace::Grace;
use crate::slot;
use crate::sync::Arc;
use loom::thread;

/// A reader finds the old place before the lock or the new one after it, and the mover never copies under it.
#[test]
fn read_against_bare_move() {
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
fn read_against_hasty_bare_move() {
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
/// Unbounded it takes 40 s.
#[test]
fn reentering_bare_reader() {
    let paths = ["moved", "cancelled", "moved between the sections"];
    explore(Some(6), paths, |[moved, cancelled, between]| {
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
/// period of its own, which waits for the section. Unbounded it takes minutes.
#[test]
fn cancel_and_bare_remark() {
    let paths = ["moved at the second attempt", "cancelled twice"];
    explore(Some(6), paths, |[second, twice]| {
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
fn remove_against_bare_move() {
    let paths =
        ["removed at the old place", "removed at the new place", "the removal beat the move"];
    explore(UNBOUNDED, paths, |[old, new, beaten]| {
        let bare = Arc::new(Bare::new());
        let remover = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let ended = slot::unlink(&bare.word, handle()).expect("nobody else removes it");
                let offset = ended.offset();
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

/// Writes a new version at [`FURTHER`] and swings the slot to it; gives the place of the old one if done.
///
/// It is written inside the section, so the fence of entering does not order it before the swing.
fn replace(bare: &Bare) -> Option<u32> {
    let guard = bare.enter();
    bare.place(FURTHER).write(VALUE);
    let old = bare.locate().expect("the object is there all the time");
    drop(bare.place(old).look());
    let done = slot::swing(&bare.word, handle(), old, FURTHER);
    drop(guard);
    done.then_some(old)
}

/// A replacement whose section found the object cannot be refused because of a move, and beats one.
#[test]
fn replace_against_bare_move() {
    let paths = ["moved first", "the move was beaten"];
    explore(UNBOUNDED, paths, |[moved, beaten]| {
        let bare = Arc::new(Bare::new());
        let writer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let old = replace(&bare).expect("the section keeps the object where it is");
                assert!(Grace::start(&bare.readers).wait(None));
                bare.place(old).write(POISON);
                old
            }
        });
        let attempt = bare.relocate(HOME, AWAY);
        let old = writer.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        beaten.reached_if(attempt == Attempt::Lost);
        assert_eq!(attempt == Attempt::Moved, old == AWAY);
        assert_eq!(bare.read(), Some(FURTHER));
    });
}

/// A reader finds the old version or the new one, whole, and the old one stays for as long as it is read.
/// Unbounded it takes a minute.
#[test]
fn read_against_bare_replace() {
    explore(Some(5), ["read the old one", "read the new one"], |[old, new]| {
        let bare = Arc::new(Bare::new());
        let reader = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.read()
        });
        assert_eq!(replace(&bare), Some(HOME));
        assert!(Grace::start(&bare.readers).wait(None));
        bare.place(HOME).write(POISON);
        let place = reader.join().unwrap();
        old.reached_if(place == Some(HOME));
        new.reached_if(place == Some(FURTHER));
        assert!(place.is_some(), "a replacement never leaves a gap");
    });
}
