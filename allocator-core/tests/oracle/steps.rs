//! What each operation must do.

use super::{
    AccessError, AllocError, AllocErrorKind, Borrow, Budget, Handle, Heap, Layout, Make, Object,
    ResizeError, Size, StaleHandle, World, fill, holds,
};

/// Asserts that a borrowed block has the bytes that it had when it was borrowed.
pub(super) fn check_borrow((handle, borrow, bytes): &(Handle, Borrow<'_>, Vec<u8>)) {
    match borrow {
        Borrow::Shared(block) => assert!(**block == **bytes, "{handle:?}, borrowed, has changed"),
        Borrow::Exclusive(block) => {
            assert!(**block == **bytes, "{handle:?}, borrowed alone, has changed");
        }
    }
}

impl Size {
    fn of(self, heap: &Heap) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(thousandths) => heap.capacity() / 1000 * thousandths,
        }
    }
}

impl World<'_> {
    pub(super) fn is_borrowed(&self, handle: Handle) -> bool {
        self.borrows.iter().any(|(other, ..)| *other == handle)
    }

    pub(super) fn is_written(&self, handle: Handle) -> bool {
        let written = |(other, borrow, _): &(_, Borrow<'_>, _)| {
            *other == handle && matches!(borrow, Borrow::Exclusive(_))
        };
        self.borrows.iter().any(written)
    }

    pub(super) fn allocate(&mut self, make: Make, size: Size, align: usize) {
        let size = size.of(self.heap);
        let layout = Layout::from_size_align(size, align).expect("a valid layout");
        let mut bytes = vec![0; size];
        let (made, align) = match make {
            Make::Lazy => (self.heap.allocate(layout), align),
            Make::Zeroed => (self.heap.allocate_zeroed(layout), align),
            Make::Copied => {
                fill(&mut bytes, self.seed);
                (self.heap.allocate_bytes(&bytes), 1)
            }
        };
        match made {
            Ok(handle) => self.insert(handle, Object { bytes, align }),
            Err(error) => self.check_refusal(&error, size, align),
        }
    }

    fn insert(&mut self, handle: Handle, object: Object) {
        assert!(!self.stale.contains(&handle), "{handle:?} came back to life");
        assert_eq!(self.heap.size(handle), Ok(object.bytes.len()));
        assert!(self.live.insert(handle, object).is_none(), "{handle:?} was given out twice");
        self.handles.push(handle);
    }

    /// A refusal has the numbers of the moment, and they explain it.
    fn check_refusal(&self, error: &AllocError, size: usize, align: usize) {
        assert_eq!((error.requested, error.align), (size, align));
        if align > 4096 {
            assert_eq!(error.kind, AllocErrorKind::Unsupported);
            return;
        }
        assert_eq!(error.kind, AllocErrorKind::OutOfMemory);
        let stats = self.heap.stats();
        assert_eq!((error.free, error.largest_free), (stats.free_bytes, stats.largest_free));
        assert_eq!(error.pending, stats.pending_bytes);
        if align <= 16 {
            assert!(error.largest_free < size.max(1), "it would have fitted: {error}");
        }
    }

    /// What the statistics call the largest free block can be had.
    pub(super) fn allocate_largest(&mut self) {
        let size = self.heap.stats().largest_free;
        if size == 0 {
            return;
        }
        let layout = Layout::from_size_align(size, 1).expect("a valid layout");
        let handle = self.heap.allocate(layout).unwrap_or_else(|error| {
            panic!("{size} bytes were free in one piece: {error}");
        });
        self.insert(handle, Object { bytes: vec![0; size], align: 1 });
        self.deallocate(self.handles.len() - 1);
    }

    pub(super) fn deallocate(&mut self, index: usize) {
        let handle = self.handles.swap_remove(index);
        self.live.remove(&handle);
        self.heap.deallocate(handle).expect("the handle is live");
        self.refused(handle);
        self.stale.push(handle);
    }

    /// Nothing can be done with a handle that names no live block.
    pub(super) fn refused(&self, handle: Handle) {
        let heap = self.heap;
        assert!(!heap.contains(handle), "{handle:?}");
        assert_eq!(heap.size(handle), Err(StaleHandle));
        assert_eq!(heap.read(handle).unwrap_err(), AccessError::Stale, "{handle:?}");
        assert_eq!(heap.try_write(handle).unwrap_err(), AccessError::Stale, "{handle:?}");
        assert_eq!(heap.resize(handle, 1), Err(AccessError::Stale.into()), "{handle:?}");
        assert_eq!(heap.deallocate(handle), Err(StaleHandle), "{handle:?}");
    }

    pub(super) fn resize(&mut self, handle: Handle, size: Size) {
        let size = size.of(self.heap);
        let resized = self.heap.try_resize(handle, size);
        let object = self.live.get_mut(&handle).expect("it is live");
        match resized {
            Ok(()) => {
                object.bytes.resize(size, 0);
                assert_eq!(self.heap.size(handle), Ok(size));
                assert!(!self.is_borrowed(handle));
            }
            Err(ResizeError::Access(error)) => {
                assert_eq!((error, self.is_borrowed(handle)), (AccessError::Busy, true));
            }
            Err(ResizeError::Alloc(error)) => {
                let align = object.align;
                self.check_refusal(&error, size, align);
                self.read(handle);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The block is aligned and has the bytes of the map, unless somebody writes it.
    pub(super) fn read(&self, handle: Handle) {
        let object = &self.live[&handle];
        match self.heap.try_read(handle) {
            Ok(block) => {
                assert!(!self.is_written(handle));
                assert_eq!(block.as_ptr().addr() % object.align, 0, "{handle:?} is not aligned");
                assert!(*block == *object.bytes, "{handle:?} has other bytes");
            }
            Err(error) => assert_eq!((error, self.is_written(handle)), (AccessError::Busy, true)),
        }
    }

    pub(super) fn write(&mut self, handle: Handle) {
        match self.heap.try_write(handle) {
            Ok(mut block) => {
                assert!(!self.is_borrowed(handle));
                let object = self.live.get_mut(&handle).expect("it is live");
                assert!(*block == *object.bytes, "{handle:?} has other bytes");
                fill(&mut block, self.seed);
                fill(&mut object.bytes, self.seed);
                assert!(holds(&block, self.seed));
            }
            Err(error) => assert_eq!((error, self.is_borrowed(handle)), (AccessError::Busy, true)),
        }
    }

    pub(super) fn defragment(&mut self, budget: Budget, moves_max: u64) {
        let report = self.heap.defragment_with(budget);
        assert_eq!(report.own_guard, !self.guards.is_empty(), "{report}");
        assert!(report.moves <= moves_max && !(report.own_guard && report.moves > 0), "{report}");
        assert!(report.blocked_by_pins <= self.borrows.len() as u64, "{report}");
        assert_eq!((report.blocked_by_guards, report.cancelled), (0, 0), "{report}");
        for (handle, borrow, _) in &self.borrows {
            let Borrow::Shared(block) = borrow else { continue };
            if let Ok(again) = self.heap.try_read(*handle) {
                assert_eq!(again.as_ptr(), block.as_ptr(), "{handle:?} was moved under a borrow");
            }
        }
        self.borrows.iter().for_each(check_borrow);
    }

    pub(super) fn check_all(&self) {
        self.handles.iter().for_each(|handle| self.read(*handle));
        self.borrows.iter().for_each(check_borrow);
    }

    /// Frees everything: then all the memory is one run.
    pub(crate) fn end(mut self) {
        self.check_all();
        self.borrows.clear();
        self.guards.clear();
        self.check_all();
        while !self.handles.is_empty() {
            self.deallocate(self.handles.len() - 1);
        }
        self.heap.flush();
        assert!(self.heap.defragment().complete);
        let stats = self.heap.stats();
        assert_eq!((stats.live_blocks, stats.live_bytes, stats.pending_blocks), (0, 0, 0));
        assert_eq!(stats.fragmentation(), 0.0, "{stats:?}");
        // An own buffer loses what rounding and the header need.
        assert!(stats.largest_free + 64 >= self.heap.capacity(), "{stats:?}");
        self.heap.verify().expect("an empty heap is consistent");
    }
}
