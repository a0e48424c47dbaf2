//! A box for each object, on the global allocator of the process.

use crate::object::Object;
use crate::questions::churning::WorkingSet;
use anyhow::{Result, ensure};

/// Boxes in places.
#[derive(Debug, Default)]
pub struct Boxes(Vec<Option<Box<Object>>>);

impl Boxes {
    /// The number of boxes.
    #[must_use]
    pub fn live(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

impl WorkingSet for Boxes {
    fn push(&mut self, object: Object) {
        self.0.push(Some(Box::new(object)));
    }

    #[inline]
    fn exchange(&mut self, place: usize, object: Object) -> bool {
        let was_there = self.0[place].take().is_some();
        self.0[place] = Some(Box::new(object));
        was_there
    }

    fn find(&self, place: usize) -> Option<Object> {
        self.0[place].as_deref().copied()
    }

    fn exchange_all(&mut self, objects: impl Iterator<Item = Object>) -> Result<()> {
        for (place, object) in objects.enumerate() {
            ensure!(self.exchange(place, object), "an object was not there to be removed");
        }
        Ok(())
    }

    fn clear(&mut self) -> usize {
        self.0.drain(..).flatten().count()
    }
}
