//! wip
#![cfg(not(loom))]
use allocator_core::{Heap, Policy};
use std::alloc::Layout;

#[test]
fn churn() {
    for policy in Policy::ALL {
        for stripes in [1, 2] {
            let heap =
                Heap::builder().capacity(8 << 20).stripes(stripes).policy(*policy).build().unwrap();
            heap.verify().unwrap();
            let mut live = Vec::new();
            let mut seed = 1u64;
            let mut next = || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed
            };
            for round in 0..20000u64 {
                let r = next();
                if r % 5 < 3 || live.is_empty() {
                    let size = if r % 7 == 0 { next() % 20000 } else { next() % 600 } as usize;
                    let align = 1 << (next() % 6);
                    match heap.allocate(Layout::from_size_align(size, align).unwrap()) {
                        Ok(h) => {
                            let mut w = heap.write(h).unwrap();
                            assert_eq!(w.as_ptr() as usize % align, 0);
                            let tag = (round % 251) as u8;
                            w.fill(tag);
                            drop(w);
                            live.push((h, size, tag));
                        }
                        Err(_) => {
                            for _ in 0..live.len() / 2 {
                                let (h, _, _) = live.swap_remove(next() as usize % live.len());
                                heap.deallocate(h).unwrap();
                            }
                        }
                    }
                } else if r % 5 == 3 {
                    let i = next() as usize % live.len();
                    let (h, size, tag) = live.swap_remove(i);
                    let b = heap.read(h).unwrap();
                    assert_eq!(b.len(), size);
                    assert!(b.iter().all(|x| *x == tag));
                    drop(b);
                    heap.deallocate(h).unwrap();
                    assert!(heap.read(h).is_err());
                } else {
                    let i = next() as usize % live.len();
                    let (h, size, tag) = live[i];
                    let new = next() as usize % 3000;
                    if heap.resize(h, new).is_ok() {
                        let mut b = heap.write(h).unwrap();
                        assert!(b[..size.min(new)].iter().all(|x| *x == tag));
                        assert!(b[size.min(new)..].iter().all(|x| *x == 0));
                        b.fill(tag);
                        live[i].1 = new;
                    }
                }
                if round % 1000 == 999 {
                    heap.verify().unwrap();
                    let r = heap.defragment();
                    heap.verify().unwrap();
                    for (h, size, tag) in &live {
                        let b = heap.read(*h).unwrap();
                        assert_eq!(b.len(), *size);
                        assert!(b.iter().all(|x| x == tag));
                    }
                    if round % 5000 == 4999 {
                        println!("{policy} {stripes} {r} complete {}", r.complete);
                        println!("{:?}", heap.stats());
                    }
                }
            }
            for (h, _, _) in live {
                heap.deallocate(h).unwrap();
            }
            heap.flush();
            let r = heap.defragment();
            println!("end {r} {:?}", heap.stats());
            heap.verify().unwrap();
        }
    }
}
