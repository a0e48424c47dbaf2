//! Secrets in a heap that overwrites what it leaves: after they were moved, taken out or removed, no copy of them is anywhere in its
//! memory.

#![cfg(not(any(loom, miri)))]

use std::sync::Mutex;
use typed_pool::{Handle, Heap, HeapBuilder, Policy, Pool};

const CAPACITY: usize = 1 << 20;

/// What no other memory holds by chance.
const SECRET: u64 = 0x5ec2_e7a1_1b17_0f15;

/// Heaps over a buffer that the tests can look through.
struct Watched {
    heap: Heap,
    start: *const u8,
}

impl Watched {
    fn new(builder: HeapBuilder) -> Self {
        Self::with_stripes(builder, 1)
    }

    fn with_stripes(builder: HeapBuilder, stripes: usize) -> Self {
        let buffer: &'static mut [u8] = vec![0; CAPACITY].leak();
        let start = buffer.as_ptr();
        Self { heap: builder.buffer(buffer).stripes(stripes).build().unwrap(), start }
    }

    /// Copies of the secret anywhere in the buffer. Nobody else uses the heap meanwhile.
    fn copies(&self) -> usize {
        let bytes = (0..CAPACITY).map(|at| {
            // SAFETY: a byte of the buffer, which is there for ever and initialised.
            unsafe { self.start.wrapping_add(at).read_volatile() }
        });
        let bytes: Vec<u8> = bytes.collect();
        bytes.windows(8).filter(|window| **window == SECRET.to_ne_bytes()).count()
    }
}

/// Erases itself when it is dropped, as those who care do.
struct Key<const N: usize>([u64; N]);

impl<const N: usize> Key<N> {
    fn new() -> Self {
        Self([SECRET; N])
    }
}

impl<const N: usize> Drop for Key<N> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|word| {
            // SAFETY: a word of ours.
            unsafe { std::ptr::from_mut(word).write_volatile(0) };
        });
    }
}

fn builders() -> impl Iterator<Item = HeapBuilder> {
    Policy::ALL.iter().map(|policy| Heap::builder().policy(*policy).page_size(4 << 10))
}

/// Secrets among others, most of which go: the rest is moved.
fn fill<const N: usize>(pool: &Pool<Key<N>>, heap: &Heap, count: usize) -> Vec<Handle<Key<N>>> {
    let others: Vec<_> = (0..count).map(|_| heap.allocate_bytes(&[1; 3000]).unwrap()).collect();
    let all: Vec<_> = (0..4 * count).map(|_| pool.insert(Key::new()).unwrap()).collect();
    let (keys, more): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(at, _)| at % 4 == 0);
    more.iter().for_each(|(_, handle)| assert!(pool.remove(*handle)));
    others.iter().for_each(|block| heap.deallocate(*block).unwrap());
    pool.flush();
    heap.flush();
    keys.into_iter().map(|(_, handle)| handle).collect()
}

fn moved_keys<const N: usize>(builder: HeapBuilder, count: usize) {
    let watched = Watched::new(builder.zero_on_move(true));
    let pool = Pool::new(&watched.heap).unwrap();
    let keys = fill::<N>(&pool, &watched.heap, count);
    let report = pool.defragment();
    assert!(report.moves > 0, "{report}");
    assert_eq!(watched.copies(), keys.len() * N, "one of each that is there");
    for handle in keys {
        assert!(pool.take(handle).is_ok_and(|key| key.0 == [SECRET; N]));
    }
    assert_eq!(watched.copies(), 0);
}

#[test]
fn moved_and_taken_secrets_leave_nothing_behind() {
    for builder in builders() {
        moved_keys::<9>(builder, 60);
    }
    for builder in builders() {
        // With chunks of their own, so that places overlap.
        moved_keys::<300>(builder, 60);
    }
}

#[test]
fn without_the_setting_they_do() {
    let watched = Watched::new(Heap::builder().page_size(4 << 10));
    let pool = Pool::new(&watched.heap).unwrap();
    let keys = fill::<300>(&pool, &watched.heap, 60);
    pool.defragment();
    assert!(watched.copies() > keys.len() * 300);
}

#[test]
fn what_is_freed_is_erased_however_it_goes() {
    for builder in builders() {
        let watched = Watched::new(builder.zero_on_free(true));
        let heap = &watched.heap;
        // Without a drop of their own.
        let pool = Pool::new(heap).unwrap();
        let handles: Vec<_> = (0..200).map(|_| pool.insert([SECRET; 9]).unwrap()).collect();
        assert_eq!(watched.copies(), 200 * 9);
        handles[..50].iter().for_each(|handle| assert!(pool.remove(*handle)));
        handles[50..60].iter().for_each(|handle| assert_eq!(pool.take(*handle), Ok([SECRET; 9])));
        handles[60..70].iter().for_each(|handle| pool.replace(*handle, [0; 9]).unwrap());
        handles[70..80].iter().for_each(|handle| pool.rcu(*handle, |_| [0; 9]).unwrap());
        pool.flush();
        heap.flush();
        assert_eq!(watched.copies(), 120 * 9);
        pool.defragment();
        assert_eq!(watched.copies(), 120 * 9);
        drop(pool);
        assert_eq!(watched.copies(), 0);

        let bytes: Vec<u8> = [SECRET; 500].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let [cut, gone, _kept] = [(); 3].map(|()| heap.allocate_bytes(&bytes).unwrap());
        heap.resize(cut, 80).unwrap();
        heap.resize(gone, 100_000).unwrap();
        heap.deallocate(gone).unwrap();
        heap.flush();
        assert_eq!(watched.copies(), 10 + 500);
        let Watched { heap, start } = watched;
        drop(heap);
        // Those that were alive to the end.
        let gone = Watched { heap: Heap::builder().build().unwrap(), start };
        assert_eq!(gone.copies(), 0);
    }
}

#[test]
fn what_is_cut_off_in_a_segment_is_erased() {
    let builder = Heap::builder().policy(Policy::FirstFit).page_size(16 << 10);
    let watched = Watched::with_stripes(builder.zero_on_free(true), 2);
    let block = watched.heap.allocate_bytes(&[SECRET.to_ne_bytes(); 125].concat()).unwrap();
    assert!(watched.heap.stats().stripes.iter().any(|stripe| stripe.pages > 0));
    assert_eq!(watched.copies(), 125);
    watched.heap.resize(block, 80).unwrap();
    assert_eq!(watched.copies(), 10);
}

#[test]
fn what_threads_keep_is_erased_too() {
    let watched = Watched::new(Heap::builder().zero_on_free(true).thread_cache(64 << 10));
    let pool = Pool::new(&watched.heap).unwrap();
    let seen = Mutex::new(0);
    for _ in 0..2000 {
        let handle = pool.insert([SECRET; 9]).unwrap();
        *seen.lock().unwrap() += 1;
        assert!(pool.remove(handle));
    }
    // Batches are kept for the next inserts; what is not yet a batch waits.
    assert!(watched.copies() < 500 * 9, "{}", watched.copies());
    pool.flush();
    assert_eq!(watched.copies(), 0);
}
