//! Objects in a pool, shared by threads, compacted while one of them reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use typed_pool::{Handle, Heap, Pool};

#[derive(Debug)]
struct Session {
    user: u32,
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One heap of fixed size. Any number of pools, of any types, can share it.
    let heap = Heap::builder().capacity(16 << 20).build()?;
    let sessions: Pool<Session> = Pool::new(&heap)?;

    // Two threads insert. A handle is 8 bytes, and it is `Copy` and `Send`.
    let insert = |users: std::ops::Range<u32>| -> Result<Vec<Handle<Session>>, _> {
        users.map(|user| sessions.insert(Session { user, name: format!("user {user}") })).collect()
    };
    let mut handles = thread::scope(|scope| {
        let other = scope.spawn(|| insert(0..50_000));
        let mut handles = insert(50_000..100_000)?;
        handles.extend(other.join().expect("the thread does not panic")?);
        Ok::<_, typed_pool::InsertError<Session>>(handles)
    })?;

    // Nine of ten sessions end. The rest is scattered over the whole heap.
    let mut index = 0;
    handles.retain(|&handle| {
        index += 1;
        index % 10 == 0 || !sessions.remove(handle)
    });

    // One thread keeps reading while the other moves the sessions together.
    let (reads, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for &handle in handles.iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                let session = sessions.get(handle).expect("the session lives");
                assert_eq!(session.name, format!("user {}", session.user));
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        while reads.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        println!("{}", sessions.defragment());
        done.store(true, Ordering::Relaxed);
    });
    println!("{} reads meanwhile", reads.into_inner());

    // The handles are as good as before.
    let session = sessions.get(handles[0]).ok_or("the session is gone")?;
    println!("{:?} and {} others live on", *session, sessions.len() - 1);
    Ok(())
}
