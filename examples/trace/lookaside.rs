//! A look-aside cache with a memory limit, which turns requests into allocations.
//!
//! A read that misses allocates the object and puts it in; a read that shows another size than the
//! stored one, and any write, replaces it; a delete frees it. Before an object goes in, the least
//! recently used ones go until it fits. The limit is half of the footprint, the footprint being
//! the sum of the last known sizes of all keys. An object beyond the limit is not stored.

use lru::LruCache;

use super::builder::Builder;
use super::ktrace::{Action, Request};
use super::{Op, Problem};

/// The limit is the footprint divided by this.
const FOOTPRINT_SHARE: u64 = 2;

/// The allocations that the requests cause.
pub(super) fn allocations(requests: &[Request], keys: u32) -> Result<Builder, Problem> {
    let mut cache = Cache {
        builder: Builder::default(),
        stored: LruCache::unbounded(),
        used: 0,
        limit: footprint(requests, keys)? / FOOTPRINT_SHARE,
    };
    for request in requests {
        cache.serve(request)?;
    }
    Ok(cache.builder)
}

/// Sum of the last known sizes.
fn footprint(requests: &[Request], keys: u32) -> Result<u64, Problem> {
    let mut sizes = vec![0; keys as usize];
    for request in requests.iter().filter(|request| request.size > 0) {
        sizes[request.key as usize] = request.size;
    }
    let sum = sizes.iter().try_fold(0, |sum: u64, &size| sum.checked_add(size));
    sum.ok_or(Problem::Size(u64::MAX))
}

struct Cache {
    builder: Builder,
    /// Object and size of each stored key.
    stored: LruCache<u32, (u32, u64)>,
    used: u64,
    limit: u64,
}

impl Cache {
    fn serve(&mut self, request: &Request) -> Result<(), Problem> {
        let stored = self.stored.get(&request.key).map(|&(_, size)| size);
        match request.action {
            Action::Read if request.size == 0 || stored == Some(request.size) => Ok(()),
            Action::Read | Action::Write => {
                self.remove(request.key)?;
                self.insert(request.key, request.size)
            }
            Action::Delete => self.remove(request.key),
        }
    }

    fn remove(&mut self, key: u32) -> Result<(), Problem> {
        match self.stored.pop(&key) {
            Some(entry) => self.free(entry),
            None => Ok(()),
        }
    }

    fn insert(&mut self, key: u32, size: u64) -> Result<(), Problem> {
        if size > self.limit {
            return Ok(());
        }
        while self.used > self.limit - size {
            match self.stored.pop_lru() {
                Some((_, entry)) => self.free(entry)?,
                None => break,
            }
        }
        let object = self.builder.next_object();
        self.builder.allocate(Op::Allocate, 0, 0, size)?;
        self.stored.put(key, (object, size));
        self.used += size;
        Ok(())
    }

    fn free(&mut self, (object, size): (u32, u64)) -> Result<(), Problem> {
        self.used -= size;
        self.builder.free(0, object)
    }
}
