//! Iterators over pools.
//!
//! They go through the slots in order of their index and never go back, so a handle is seen once at
//! most.

use crate::place::{Objects, Section, Walk};
use crate::reference::{Ref, RefMut};
use allocator_core::Handle;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

/// The objects of a pool with their handles; made by [`Pool::iter`](crate::Pool::iter).
///
/// Each [`Ref`] carries its own guard, so between two objects nothing is delayed.
pub struct Iter<'p, T> {
    objects: &'p Objects<T>,
    slots: Range<u32>,
}

impl<'p, T> Iter<'p, T> {
    pub(crate) fn new(objects: &'p Objects<T>) -> Self {
        Self { objects, slots: 0..objects.table().slots_used() }
    }
}

impl<'p, T> Iterator for Iter<'p, T> {
    type Item = (Handle<T>, Ref<'p, T>);

    fn next(&mut self) -> Option<Self::Item> {
        self.slots.by_ref().find_map(|index| {
            let section = self.objects.enter();
            let handle = section.handle_at(index)?;
            Some((handle, Ref::new(section.into_shared(handle)?)))
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.slots.len()))
    }
}

/// The objects of a pool with their handles, under one guard; made by
/// [`PoolGuard::iter`](crate::PoolGuard::iter).
pub struct GuardIter<'g, T> {
    section: &'g Section<'g, T>,
    slots: Range<u32>,
}

impl<'g, T> GuardIter<'g, T> {
    pub(crate) fn new(section: &'g Section<'g, T>) -> Self {
        Self { section, slots: 0..section.slots_used() }
    }
}

impl<'g, T> Iterator for GuardIter<'g, T> {
    type Item = (Handle<T>, &'g T);

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.section;
        self.slots.by_ref().find_map(|index| {
            let handle = section.handle_at(index)?;
            Some((handle, section.get(handle)?))
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.slots.len()))
    }
}

/// The handles of a pool's objects; made by [`Pool::handles`](crate::Pool::handles).
pub struct Handles<'p, T> {
    objects: &'p Objects<T>,
    slots: Range<u32>,
}

impl<'p, T> Handles<'p, T> {
    pub(crate) fn new(objects: &'p Objects<T>) -> Self {
        Self { objects, slots: 0..objects.table().slots_used() }
    }
}

impl<T> Iterator for Handles<'_, T> {
    type Item = Handle<T>;

    fn next(&mut self) -> Option<Handle<T>> {
        self.slots.by_ref().find_map(|index| self.objects.enter().handle_at(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.slots.len()))
    }
}

/// The objects of a pool that are not pinned, each borrowed mutably; made by
/// [`Pool::iter_mut`](crate::Pool::iter_mut).
pub struct IterMut<'p, T> {
    walk: Walk<'p, T>,
}

impl<'p, T> IterMut<'p, T> {
    pub(crate) fn new(walk: Walk<'p, T>) -> Self {
        Self { walk }
    }
}

impl<'p, T> Iterator for IterMut<'p, T> {
    type Item = (Handle<T>, RefMut<'p, T>);

    fn next(&mut self) -> Option<Self::Item> {
        let (handle, object) = self.walk.next()?;
        Some((handle, RefMut::new(object)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.walk.slots_left()))
    }
}

impl<T> FusedIterator for Iter<'_, T> {}
impl<T> FusedIterator for GuardIter<'_, T> {}
impl<T> FusedIterator for Handles<'_, T> {}
impl<T> FusedIterator for IterMut<'_, T> {}

/// `Debug` that asks nothing of `T`.
macro_rules! debug {
    ($($name:ident),*) => { $(
        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}
debug!(Iter, GuardIter, Handles, IterMut);
