//! Programs that must not compile, one for each way around a rule; compiled by `cargo test --doc`
//! only.
//!
//! A guard stays on its thread:
//! ```compile_fail,E0277
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! pool.insert(1).unwrap();
//! let guard = pool.enter();
//! std::thread::scope(|s| { s.spawn(move || drop(guard)); });
//! ```
//! ... and so does a `Ref`, even where all it would do is to be dropped:
//! ```compile_fail,E0277
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let found = pool.get(pool.insert(1).unwrap());
//! std::thread::scope(|s| { s.spawn(move || drop(found)); });
//! ```
//! ... and a `RefMut`:
//! ```compile_fail,E0277
//! let mut pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(1).unwrap();
//! let found = pool.get_mut(handle);
//! std::thread::scope(|s| { s.spawn(move || drop(found)); });
//! ```
//! A `Ref` does not outlive its pool:
//! ```compile_fail,E0505
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let found = pool.get(pool.insert(1).unwrap()).unwrap();
//! drop(pool);
//! println!("{}", *found);
//! ```
//! Nobody reads while an object is borrowed mutably:
//! ```compile_fail,E0502
//! let mut pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(1).unwrap();
//! let mut found = pool.get_mut(handle).unwrap();
//! let read = pool.get(handle);
//! *found = 2;
//! ```
//! ... not even another object, since the iterator may come to it:
//! ```compile_fail,E0502
//! let mut pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(1).unwrap();
//! let all: Vec<_> = pool.iter_mut().collect();
//! let read = pool.get(handle);
//! drop(all);
//! ```
//! Nobody borrows mutably while somebody reads:
//! ```compile_fail,E0502
//! let mut pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(1).unwrap();
//! let guard = pool.enter();
//! pool.clear();
//! println!("{:?}", guard.get(handle));
//! ```
//! References do not leave `with`, or what `rcu` computes:
//! ```compile_fail
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(String::new()).unwrap();
//! let text: &String = pool.with(handle, |text| text).unwrap();
//! ```
//! ```compile_fail,E0521
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(String::new()).unwrap();
//! let mut kept: Option<&String> = None;
//! pool.rcu(handle, |text| { kept = Some(text); text.clone() }).unwrap();
//! ```
//! ... nor what is read in batches:
//! ```compile_fail,E0597
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handles = pool.insert_many([1, 2]).unwrap();
//! let objects: Vec<&i32> = {
//!     let guard = pool.enter();
//!     guard.get_many(&handles).flatten().collect()
//! };
//! println!("{objects:?}");
//! ```
//! ```compile_fail,E0521
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handles = pool.insert_many([1, 2]).unwrap();
//! let mut kept: Vec<&i32> = Vec::new();
//! pool.with_many(&handles, |_, object| kept.extend(object));
//! ```
//! ... or is asked whether it may stay:
//! ```compile_fail,E0521
//! let mut pool = typed_pool::Pool::with_capacity(8).unwrap();
//! pool.extend([1, 2]);
//! let mut kept: Vec<&mut i32> = Vec::new();
//! pool.retain(|_, object| { kept.push(object); true });
//! ```
//! ```compile_fail,E0521
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let mut kept: Vec<&i32> = Vec::new();
//! pool.remove_where(|_, object| { kept.push(object); true });
//! ```
//! A pool takes in no shorter borrows than its type says, though it is reached through `&`:
//! ```compile_fail,E0597
//! use typed_pool::Pool;
//! fn insert<'a>(pool: &Pool<&'a str>, text: &'a str) { pool.insert(text).unwrap(); }
//! let pool: Pool<&'static str> = Pool::with_capacity(8).unwrap();
//! {
//!     let text = String::from("short");
//!     insert(&pool, &text);
//! }
//! pool.iter().for_each(|(_, text)| println!("{}", *text));
//! ```
//! ... nor through a `RefMut`:
//! ```compile_fail,E0597
//! use typed_pool::{Pool, RefMut};
//! fn set<'a>(mut place: RefMut<'_, &'a str>, text: &'a str) { *place = text; }
//! let mut pool: Pool<&'static str> = Pool::with_capacity(8).unwrap();
//! let handle = pool.insert("static").unwrap();
//! {
//!     let text = String::from("short");
//!     set(pool.get_mut(handle).unwrap(), &text);
//! }
//! println!("{}", *pool.get(handle).unwrap());
//! ```
//! ... nor through an iterator:
//! ```compile_fail,E0597
//! use typed_pool::{IterMut, Pool};
//! fn set<'a>(places: IterMut<'_, &'a str>, text: &'a str) {
//!     places.for_each(|(_, mut place)| *place = text);
//! }
//! let mut pool: Pool<&'static str> = Pool::with_capacity(8).unwrap();
//! let handle = pool.insert("static").unwrap();
//! {
//!     let text = String::from("short");
//!     set(pool.iter_mut(), &text);
//! }
//! println!("{}", *pool.get(handle).unwrap());
//! ```
//! A pin gives `&T` and nothing else, so it passes for one of a shorter borrow, like an `Arc`; and so
//! do a guard and what it carries for those of a pool that is borrowed for less long:
//! ```
//! use typed_pool::{Pinned, Pool, PoolGuard, Ref, RefMut};
//! fn pin<'a>(pin: Pinned<&'static str>) -> Pinned<&'a str> { pin }
//! fn guard<'a>(guard: PoolGuard<'static, u8>) -> PoolGuard<'a, u8> { guard }
//! fn found<'a>(found: Ref<'static, u8>) -> Ref<'a, u8> { found }
//! fn alone<'a>(alone: RefMut<'static, u8>) -> RefMut<'a, u8> { alone }
//! let pool = Pool::with_capacity(8).unwrap();
//! assert_eq!(*pin(pool.pin(pool.insert("text").unwrap()).unwrap()), "text");
//! ```
//! But not the other way round:
//! ```compile_fail
//! use typed_pool::Pinned;
//! fn pin<'a>(pin: Pinned<&'a str>) -> Pinned<&'static str> { pin }
//! ```
//! ```compile_fail
//! use typed_pool::PoolGuard;
//! fn guard<'a>(guard: PoolGuard<'a, u8>) -> PoolGuard<'static, u8> { guard }
//! ```
//! A pin of an object with a cell that is not shared between threads cannot be had at all, as the pool
//! may go elsewhere and leave it behind:
//! ```compile_fail,E0277
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let pin = pool.pin(pool.insert(std::cell::Cell::new(1)).unwrap());
//! ```
//! What tells of purged objects may run on any thread, and as long as the pool lives:
//! ```compile_fail,E0277
//! let mut pool: typed_pool::Pool<u8> = typed_pool::Pool::with_capacity(8).unwrap();
//! let count = std::rc::Rc::new(std::cell::Cell::new(0));
//! pool.on_purge(move |_| count.set(count.get() + 1));
//! ```
//! ```compile_fail,E0597
//! let mut pool: typed_pool::Pool<u8> = typed_pool::Pool::with_capacity(8).unwrap();
//! {
//!     let count = std::sync::atomic::AtomicUsize::new(0);
//!     pool.on_purge(|_| { count.fetch_add(1, std::sync::atomic::Ordering::Relaxed); });
//! }
//! ```
//! A value whose `Drop` reads what it borrows must be gone before that is, and the pool drops it
//! last:
//! ```compile_fail,E0597
//! struct Reads<'a>(&'a String);
//! impl Drop for Reads<'_> {
//!     fn drop(&mut self) { println!("{}", self.0); }
//! }
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let text = String::from("dropped before the pool");
//! pool.insert(Reads(&text)).unwrap();
//! ```
//! ... and so does a pin:
//! ```compile_fail,E0597
//! struct Reads<'a>(&'a String);
//! impl Drop for Reads<'_> {
//!     fn drop(&mut self) { println!("{}", self.0); }
//! }
//! let pinned;
//! let text = String::from("dropped before the pin");
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(Reads(&text)).unwrap();
//! pinned = pool.pin(handle).unwrap();
//! ```
//! Without such a `Drop` the order does not matter:
//! ```
//! let pool = typed_pool::Pool::with_capacity(8).unwrap();
//! let text = String::from("dropped before the pool");
//! pool.insert(text.as_str()).unwrap();
//! ```
