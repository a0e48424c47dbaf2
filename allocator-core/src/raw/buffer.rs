//! [`Buffer`]: memory that the caller brings along.

use core::mem::MaybeUninit;

/// A buffer that the caller brings along instead of mapped memory.
///
/// Made from a `Box<[u8]>`, a `Vec<u8>` or a `&'static mut [u8]`, initialised or not.
#[derive(Debug)]
pub struct Buffer(pub(super) Owned);

#[derive(Debug)]
pub(super) enum Owned {
    Boxed(Box<[MaybeUninit<u8>]>),
    Static(&'static mut [MaybeUninit<u8>]),
}

impl Buffer {
    /// Bytes of the buffer.
    pub fn len(&self) -> usize {
        match &self.0 {
            Owned::Boxed(bytes) => bytes.len(),
            Owned::Static(bytes) => bytes.len(),
        }
    }

    /// Whether the buffer has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Box<[MaybeUninit<u8>]>> for Buffer {
    fn from(bytes: Box<[MaybeUninit<u8>]>) -> Self {
        Self(Owned::Boxed(bytes))
    }
}

impl From<Box<[u8]>> for Buffer {
    fn from(bytes: Box<[u8]>) -> Self {
        let raw = Box::into_raw(bytes) as *mut [MaybeUninit<u8>];
        // SAFETY: the same allocation and layout; initialised bytes are valid `MaybeUninit` bytes.
        Self(Owned::Boxed(unsafe { Box::from_raw(raw) }))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        bytes.into_boxed_slice().into()
    }
}

impl From<&'static mut [MaybeUninit<u8>]> for Buffer {
    fn from(bytes: &'static mut [MaybeUninit<u8>]) -> Self {
        Self(Owned::Static(bytes))
    }
}

impl From<&'static mut [u8]> for Buffer {
    fn from(bytes: &'static mut [u8]) -> Self {
        let raw = bytes as *mut [u8] as *mut [MaybeUninit<u8>];
        // SAFETY: the same bytes, borrowed for ever; nobody reads them as `u8` any more.
        Self(Owned::Static(unsafe { &mut *raw }))
    }
}
