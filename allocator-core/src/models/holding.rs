//! Holds on blocks: pins, and the reader-writer count of raw blocks.

use super::modelling::{UNBOUNDED, explore};
use super::{AWAY, Attempt, Bare, HOME, VALUE};
use crate::block::{self, Access, HoldOutcome};
use crate::sync::Arc;
use loom::thread;

/// Holds the object the way pins and raw blocks do: found inside a section, kept after it.
fn hold(bare: &Bare, access: Access) -> Option<u32> {
    let _guard = bare.enter();
    let place = bare.locate()?;
    let held = block::try_hold(&bare.place(place).header, access) == HoldOutcome::Held;
    held.then_some(place)
}

/// What is pinned stays where it is until it is let go, long after the section is left.
#[test]
fn pin_against_bare_move() {
    let paths = ["moved", "pinned", "cancelled", "pinned at the new place"];
    explore(UNBOUNDED, paths, |[moved, pinned, cancelled, new]| {
        let bare = Arc::new(Bare::new());
        let holder = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let place = hold(&bare, Access::Shared).expect("nobody else holds it");
                drop(bare.place(place).look());
                assert_eq!(block::let_go(&bare.place(place).header, Access::Shared), 0);
                place
            }
        });
        let attempt = bare.relocate(HOME, AWAY);
        let place = holder.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        pinned.reached_if(attempt == Attempt::Held);
        cancelled.reached_if(attempt == Attempt::Lost);
        new.reached_if(place == AWAY);
        assert!(bare.read().is_some());
    });
}

/// A writer has the block alone, against readers and against another writer.
#[test]
fn write_against_bare_read() {
    let paths = ["the reader was refused", "the writer was refused", "both came in"];
    explore(UNBOUNDED, paths, |[no_read, no_write, both]| {
        let bare = Arc::new(Bare::new());
        let writer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let Some(place) = hold(&bare, Access::Exclusive) else { return false };
                assert_eq!(bare.place(place).copy(), VALUE);
                bare.place(place).write(VALUE);
                block::downgrade(&bare.place(place).header);
                drop(bare.place(place).look());
                block::let_go(&bare.place(place).header, Access::Shared);
                true
            }
        });
        let read = hold(&bare, Access::Shared);
        if let Some(place) = read {
            drop(bare.place(place).look());
            block::let_go(&bare.place(place).header, Access::Shared);
        }
        let wrote = writer.join().unwrap();
        no_read.reached_if(read.is_none());
        no_write.reached_if(!wrote);
        both.reached_if(wrote && read.is_some());
        assert!(!block::is_held(&bare.place(HOME).header));
    });
}

/// A replaced block can be held by nobody, from the moment on that its last holder buries it.
#[test]
fn hold_against_bare_bury() {
    explore(UNBOUNDED, ["held before", "refused"], |[before, refused]| {
        let bare = Arc::new(Bare::new());
        let latecomer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let Some(place) = hold(&bare, Access::Shared) else { return false };
                drop(bare.place(place).look());
                block::let_go(&bare.place(place).header, Access::Shared);
                true
            }
        });
        let place = bare.place(HOME);
        let mine = block::try_hold(&place.header, Access::Exclusive) == HoldOutcome::Held;
        if mine {
            place.write(VALUE);
            block::bury(&place.header);
        }
        let came = latecomer.join().unwrap();
        before.reached_if(came);
        refused.reached_if(!came);
        assert!(came || mine);
        assert!(!block::is_held(&place.header));
        if mine {
            assert_eq!(block::try_hold(&place.header, Access::Shared), HoldOutcome::Busy);
        }
    });
}
