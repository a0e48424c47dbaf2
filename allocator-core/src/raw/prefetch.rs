//! Asking for a cache line ahead of time.

/// Whether there is anything to do: not on processors whose instruction is not known here, nor in a model,
/// which has no cache. Miri checks the way to the instruction.
pub(crate) const ENABLED: bool = cfg!(all(not(loom), any(miri, target_arch = "x86_64")));

/// Asks for the cache line of an address, which may be anything.
#[inline(always)]
pub(crate) fn fetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction; it is a hint, which accesses nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
    let _ = address;
}
