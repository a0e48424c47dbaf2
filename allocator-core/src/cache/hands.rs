//! [`Hands`]: what has left one place and not arrived at the next, so that nobody who looks for it takes it for gone.

use crate::sync::atomic::{AtomicUsize, Ordering};
use core::hash::Hasher;

/// In the upper half of the word: how often something arrived.
const ARRIVED: usize = 1 << (usize::BITS / 2);

/// In how many hands something of a table is.
#[derive(Debug, Default)]
pub(crate) struct Hands(AtomicUsize);

/// What is taken out of a cache, the depot or a list is in a hand, from before until this is dropped.
#[derive(Debug)]
pub(crate) struct InHand<'h>(&'h AtomicUsize);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        // Release: it arrived. Partner: the Acquire in `tell_version`.
        self.0.fetch_add(ARRIVED - 1, Ordering::Release);
    }
}

impl Hands {
    /// Something is about to be taken out.
    pub(crate) fn take(&self) -> InHand<'_> {
        // Relaxed: whoever finds it gone is told by that (`counters::set_taken`), or by a lock.
        self.0.fetch_add(1, Ordering::Relaxed);
        InHand(&self.0)
    }

    /// Whether something is in a hand: who found nothing should look again.
    pub(crate) fn is_any(&self) -> bool {
        // Relaxed: who looks tells a version before and after this. Where both have the same number, this has it too, and the
        // look came after its Acquire; where they have not, the look is not the last.
        !self.0.load(Ordering::Relaxed).is_multiple_of(ARRIVED)
    }

    /// Tells `version` a number that is another one as soon as something was taken or has arrived.
    pub(crate) fn tell_version(&self, version: &mut impl Hasher) {
        // Acquire: pairs with the Release in `InHand`. Weaker, who looks next could miss what has arrived.
        version.write_usize(self.0.load(Ordering::Acquire));
    }
}
