//! Iterators over pools.
//!
//! They go through the slots once, in order of their index or of their objects' addresses, so a
//! handle is seen once at most; except [`GetMany`], which goes through handles that it is given.

use crate::ahead::{Ahead, SLOTS_AHEAD, ask_ahead_of};
use crate::place::{Objects, Section, Walk};
use crate::reference::{Ref, RefMut};
use allocator_core::Handle;
use core::borrow::Borrow;
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
            ask_ahead_of::<T>(self.objects.table(), index);
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
        Self { section, slots: 0..section.table().slots_used() }
    }
}

impl<'g, T> Iterator for GuardIter<'g, T> {
    type Item = (Handle<T>, &'g T);

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.section;
        self.slots.by_ref().find_map(|index| {
            ask_ahead_of::<T>(section.table(), index);
            let handle = section.handle_at(index)?;
            Some((handle, section.get(handle)?))
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.slots.len()))
    }
}

/// The objects of a pool with their handles, in the order of their addresses; made by
/// [`PoolGuard::iter_by_address`](crate::PoolGuard::iter_by_address).
pub struct AddressIter<'g, T> {
    section: &'g Section<'g, T>,
    slots: std::vec::IntoIter<u64>,
}

impl<'g, T> AddressIter<'g, T> {
    pub(crate) fn new(section: &'g Section<'g, T>) -> Self {
        let table = section.table();
        // The place above the slot: 8 bytes an object, sorted as plain numbers.
        let entry = |slot| Some(u64::from(table.offset_hint(slot)?) << 32 | u64::from(slot));
        let mut slots: Vec<_> = (0..table.slots_used()).filter_map(entry).collect();
        slots.sort_unstable();
        Self { section, slots: slots.into_iter() }
    }
}

impl<'g, T> Iterator for AddressIter<'g, T> {
    type Item = (Handle<T>, &'g T);

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.section;
        loop {
            let slot = self.slots.next()? as u32;
            if let Some(later) = self.slots.as_slice().get(SLOTS_AHEAD) {
                section.table().prefetch_slot(*later as u32);
            }
            if let Some(handle) = section.handle_at(slot)
                && let Some(object) = section.get(handle)
            {
                return Some((handle, object));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.slots.len()))
    }
}

/// The objects of many handles, under one guard; made by
/// [`PoolGuard::get_many`](crate::PoolGuard::get_many).
pub struct GetMany<'g, T, I> {
    section: &'g Section<'g, T>,
    handles: Ahead<T, I>,
}

impl<'g, T, I: Iterator<Item: Borrow<Handle<T>>> + Clone> GetMany<'g, T, I> {
    #[inline]
    pub(crate) fn new(section: &'g Section<'g, T>, handles: I) -> Self {
        Self { section, handles: Ahead::new(section.table(), handles) }
    }
}

impl<'g, T, I: Iterator<Item: Borrow<Handle<T>>> + Clone> Iterator for GetMany<'g, T, I> {
    type Item = Option<&'g T>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let handle = self.handles.next(self.section.table())?;
        Some(self.section.get(handle))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.handles.size_hint()
    }
}

impl<T, I: ExactSizeIterator<Item: Borrow<Handle<T>>> + Clone> ExactSizeIterator
    for GetMany<'_, T, I>
{
}

impl<T, I: FusedIterator<Item: Borrow<Handle<T>>> + Clone> FusedIterator for GetMany<'_, T, I> {}

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
impl<T> FusedIterator for AddressIter<'_, T> {}
impl<T> FusedIterator for Handles<'_, T> {}
impl<T> FusedIterator for IterMut<'_, T> {}

/// `Debug` that asks nothing of `T`.
macro_rules! debug {
    ($($name:ident $(<$rest:ident>)?),*) => { $(
        impl<T $(, $rest)?> fmt::Debug for $name<'_, T $(, $rest)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}
debug!(Iter, GuardIter, AddressIter, GetMany<I>, Handles, IterMut);
