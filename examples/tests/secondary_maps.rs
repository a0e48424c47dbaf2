//! slotmap's secondary maps with handles of a pool as keys: nothing is lost, of the first object neither.

use slotmap::{SecondaryMap, SparseSecondaryMap};
use typed_pool::{Handle, Pool};

const OBJECTS: u32 = 20;

fn pool() -> (Pool<u32>, Vec<Handle<u32>>) {
    let pool = Pool::with_capacity(100).unwrap();
    let handles: Vec<_> = (0..OBJECTS).map(|number| pool.insert(number).unwrap()).collect();
    assert!(handles.iter().any(|handle| handle.index() == 0), "the first slot is among them");
    (pool, handles)
}

#[test]
fn every_object_of_a_pool_has_its_entry() {
    let (_pool, handles) = pool();
    let mut map = SecondaryMap::new();
    for (handle, number) in handles.iter().zip(0..) {
        assert_eq!(map.insert(*handle, number), None);
    }
    assert_eq!(map.len(), handles.len());
    assert!(map.iter().all(|(handle, number)| handles[*number] == handle));
    assert_eq!(map.iter().count(), handles.len());
    assert_eq!(map.clone().into_iter().count(), handles.len());
    assert_eq!(map.clone().drain().count(), handles.len());
    map.retain(|_, number| *number == 0);
    assert_eq!(map.keys().collect::<Vec<_>>(), handles[..1]);
    map.clear();
    assert!(map.is_empty() && map.get(handles[0]).is_none());
}

#[test]
fn the_entry_of_a_removed_object_is_not_that_of_the_next_in_its_slot() {
    let (pool, handles) = pool();
    let mut map: SecondaryMap<_, _> = handles.iter().map(|handle| (*handle, "old")).collect();
    let mut sparse: SparseSecondaryMap<_, _> =
        handles.iter().map(|handle| (*handle, "old")).collect();
    assert!(handles.iter().all(|handle| pool.remove(*handle)));
    pool.flush();
    for _ in &handles {
        let handle = pool.insert(7).unwrap();
        assert!(!handles.contains(&handle));
        assert_eq!((map.get(handle), sparse.get(handle)), (None, None));
        map.insert(handle, "new");
        sparse.insert(handle, "new");
    }
    assert!(handles.iter().all(|handle| map.get(*handle).is_none()));
    assert!(map.values().chain(sparse.values()).all(|value| *value == "new"));
}

#[test]
fn a_map_survives_being_written_and_read() {
    let (_pool, handles) = pool();
    let map: SecondaryMap<_, _> = handles.iter().copied().zip(0..).collect();
    let text = serde_json::to_string(&map).unwrap();
    let read: SecondaryMap<Handle<u32>, usize> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, map);
}
