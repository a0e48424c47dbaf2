//! Threads that leave their nodes, and may still do something afterwards, in destructors of other thread-locals.

use super::modelling::{UNBOUNDED, explore};
use super::{AWAY, Attempt, Bare, HOME};
use crate::sync::Arc;
use crate::threads;
use loom::thread;

/// Guards that the calling thread has open in its record, and so in each section but one.
fn nesting(bare: &Bare) -> u32 {
    let mut records = bare.readers.iter();
    let own = records.find(|record| record.is_open_of(threads::number()));
    own.expect("a section is open").nesting()
}

/// A thread that left its record has forgotten it, whoever has it now.
#[test]
fn newcomer_against_reader_without_record() {
    let paths = ["one record for both", "a record each"];
    explore(UNBOUNDED, paths, |[one, each]| {
        let bare = Arc::new(Bare::new());
        assert_eq!(bare.read(), Some(HOME));
        let newcomer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || bare.read()
        });
        threads::leave_all();
        assert_eq!(bare.read(), Some(HOME));
        assert_eq!(newcomer.join().unwrap(), Some(HOME));
        let records = bare.readers.iter().count();
        one.reached_if(records == 1);
        each.reached_if(records == 2);
    });
}

/// A record whose section is open when its thread leaves it is nobody's before the section is over, and the section holds
/// until then.
#[test]
fn newcomer_against_reader_that_leaves() {
    explore(UNBOUNDED, ["moved", "cancelled", "a record each"], |[moved, cancelled, each]| {
        let bare = Arc::new(Bare::new());
        let guard = bare.enter();
        let newcomer = thread::spawn({
            let bare = Arc::clone(&bare);
            move || {
                let guard = bare.enter();
                assert_eq!(nesting(&bare), 1, "a record whose section is open");
                drop(guard);
                bare.relocate(HOME, AWAY)
            }
        });
        threads::leave_all();
        let place = bare.locate().expect("the object is there all the time");
        drop(bare.place(place).look());
        drop(guard);
        let attempt = newcomer.join().unwrap();
        moved.reached_if(attempt == Attempt::Moved);
        cancelled.reached_if(attempt == Attempt::Lost);
        each.reached_if(bare.readers.iter().count() == 2);
        assert!(bare.read().is_some());
    });
}
