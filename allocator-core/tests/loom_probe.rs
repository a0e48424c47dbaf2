#![cfg(loom)]
mod modelling;
use modelling::*;
use allocator_core::*;
use std::sync::Arc;
use std::alloc::Layout;

fn probe(bound: Option<usize>) {
    explore(bound, ["moved", "cancelled", "stayed"], |[moved, cancelled, stayed]| {
        let heap = Heap::builder().capacity(1 << 10).stripes(1).patience(std::time::Duration::from_secs(3600)).build().unwrap();
        let spec = TableSpec { layout: Layout::new::<u64>(), drop: None };
        let table = Arc::new(unsafe { Table::new(&heap, spec) }.unwrap());
        let put = |v: u64| { let r = table.reserve().unwrap(); unsafe { r.as_ptr().cast::<u64>().write(v); r.publish::<u64>() } };
        let a = put(1);
        let b = put(7);
        table.retire(a);
        assert_eq!(table.reclaim(), 1);
        let t2 = Arc::clone(&table);
        let reader = loom::thread::spawn(move || {
            let guard = t2.enter();
            let p = guard.locate(b).unwrap();
            assert_eq!(unsafe { p.cast::<u64>().read() }, 7);
        });
        let report = heap.defragment();
        moved.reached_if(report.moves == 1);
        cancelled.reached_if(report.cancelled == 1);
        stayed.reached_if(report.moves == 0);
        reader.join().unwrap();
    });
}
#[test] fn p1() { probe(Some(1)) }
#[test] fn p2() { probe(Some(2)) }
#[test] fn p3() { probe(Some(3)) }
#[test] fn p_all() { probe(None) }
