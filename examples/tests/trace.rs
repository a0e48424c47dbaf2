//! The trace reader on traces made by hand: right ones, and every kind of wrong one.

mod support;

use examples::trace::{Op, ParseError, Problem, ReadError, Trace};
use support::{Writer, requests};

/// Every operation once, on two threads, with an object of no bytes.
fn sample() -> Writer {
    let mut writer = Writer::new()
        .record(0, &[100]) // object 0
        .record(1 | 8, &[1, 0]) // object 1, on thread 1
        .record(2, &[6, 300]) // object 2
        .record(4, &[2, 50]) // object 0 to 50 bytes
        .record(3 | 8, &[0, 0]); // object 2, on thread 0
    writer.threads = 2;
    writer.peaks(400, 3)
}

fn problem(bytes: &[u8]) -> (usize, Problem) {
    let ParseError { offset, problem } = Trace::parse(bytes).expect_err("must be refused");
    (offset, problem)
}

#[test]
fn what_was_written_is_read() {
    let trace = Trace::parse(&sample().bytes()).expect("valid");
    assert_eq!((trace.name(), trace.description()), ("made", "by hand"));
    assert_eq!((trace.objects(), trace.threads()), (3, 2));
    assert_eq!((trace.peak_bytes(), trace.peak_objects()), (400, 3));
    let records: Vec<_> = trace
        .records()
        .iter()
        .map(|record| (record.op, record.thread, record.object, record.size, record.align()))
        .collect();
    assert_eq!(
        records,
        [
            (Op::Allocate, 0, 0, 100, 1),
            (Op::AllocateZeroed, 1, 1, 0, 1),
            (Op::AllocateAligned, 1, 2, 300, 64),
            (Op::Reallocate, 1, 0, 50, 1),
            (Op::Free, 0, 2, 300, 1),
        ]
    );
}

#[test]
fn an_empty_trace_is_valid() {
    let trace = Trace::parse(&Writer::new().bytes()).expect("valid");
    assert!(trace.records().is_empty());
    let mut nameless = Writer::new();
    nameless.metadata = b"{}".to_vec();
    nameless.threads = 0;
    assert_eq!(Trace::parse(&nameless.bytes()).expect("valid").name(), "");
}

#[test]
fn every_prefix_and_any_continuation_is_refused() {
    let bytes = sample().bytes();
    for length in 0..bytes.len() {
        Trace::parse(&bytes[..length]).expect_err("cut off");
    }
    let longer = [&bytes[..], &[0, 0]].concat();
    assert_eq!(problem(&longer), (bytes.len(), Problem::Trailing(2)));
}

#[test]
fn a_wrong_header_is_refused() {
    assert_eq!(problem(b"ATRACE2\nand more"), (0, Problem::NotATrace));
    assert_eq!(problem(b"ATRACE1\n"), (8, Problem::UnexpectedEnd));

    let differs = |change: fn(&mut Writer)| {
        let mut writer = sample();
        change(&mut writer);
        problem(&writer.bytes())
    };
    let (at, found) = differs(|writer| writer.objects += 1);
    let expected = Problem::Differs { what: "objects", header: 4, found: 3 };
    assert_eq!((at, found), (16, expected));
    let (at, found) = differs(|writer| writer.peak_bytes -= 1);
    let expected = Problem::Differs { what: "bytes live at the peak", header: 399, found: 400 };
    assert_eq!((at, found), (24, expected));
    let (at, found) = differs(|writer| writer.peak_objects = 0);
    let expected = Problem::Differs { what: "objects live at the peak", header: 0, found: 3 };
    assert_eq!((at, found), (32, expected));
    let (_, found) = differs(|writer| writer.records -= 1);
    assert_eq!(found, Problem::Trailing(3));
    let (_, found) = differs(|writer| writer.records += 1);
    assert_eq!(found, Problem::UnexpectedEnd);
}

#[test]
fn counts_beyond_the_length_of_the_file_are_refused_before_anything_is_reserved() {
    let mut writer = sample();
    writer.records = u64::MAX;
    assert!(matches!(problem(&writer.bytes()), (8, Problem::TooMany { what: "records", .. })));
    let mut writer = sample();
    writer.objects = 1 << 40;
    assert!(matches!(problem(&writer.bytes()), (16, Problem::TooMany { what: "objects", .. })));
    let mut writer = sample();
    writer.threads = u32::MAX;
    assert!(matches!(problem(&writer.bytes()), (40, Problem::TooMany { what: "threads", .. })));
    let mut bytes = sample().bytes();
    bytes[44..48].fill(0xff);
    assert_eq!(problem(&bytes), (bytes.len(), Problem::UnexpectedEnd));
}

#[test]
fn metadata_that_is_no_object_is_refused() {
    for text in ["", "[]", "7", "{", "{\"name\":7}", "{} {}", "{\"name\":\"\\ud800\"}"] {
        let mut writer = sample();
        writer.metadata = text.into();
        assert!(matches!(problem(&writer.bytes()), (48, Problem::Metadata(_))), "{text}");
    }
    let mut writer = sample();
    writer.metadata = b"{\"name\":\"\xff\"}".to_vec();
    assert!(matches!(problem(&writer.bytes()), (48, Problem::Metadata(_))));
}

#[test]
fn a_wrong_record_is_refused_at_its_tag() {
    let at = Writer::new().body_at();
    for tag in [5, 6, 7, 16, 0x83] {
        assert_eq!(problem(&Writer::new().record(tag, &[0]).bytes()), (at, Problem::Tag(tag)));
    }
    let thread = Writer::new().record(8, &[1, 0]);
    assert_eq!(problem(&thread.bytes()), (at, Problem::Thread { index: 1, threads: 1 }));
    let mut nobody = Writer::new().record(0, &[1]);
    nobody.threads = 0;
    assert_eq!(problem(&nobody.bytes()), (at, Problem::Thread { index: 0, threads: 0 }));
    let align = Writer::new().record(2, &[63, 0]);
    assert_eq!(problem(&align.bytes()), (at, Problem::Alignment(63)));
    let size = 1 << 63;
    assert_eq!(problem(&Writer::new().record(0, &[size]).bytes()), (at, Problem::Size(size)));
    let half = i64::MAX as u64;
    let sum = Writer::new().record(0, &[half]).record(0, &[1]);
    assert_eq!(problem(&sum.bytes()).1, Problem::Size(size));
}

#[test]
fn objects_live_once_and_are_freed_once() {
    let at = Writer::new().body_at();
    let none = Writer::new().record(3, &[0]);
    assert_eq!(problem(&none.bytes()), (at, Problem::Distance { distance: 0, next: 0 }));
    let one = Writer::new().record(0, &[8]);
    let before = one.clone().record(4, &[1, 9]);
    assert_eq!(problem(&before.bytes()), (at + 2, Problem::Distance { distance: 1, next: 1 }));
    let freed = one.record(3, &[0]);
    let twice = freed.clone().record(3, &[0]);
    assert_eq!(problem(&twice.bytes()), (at + 4, Problem::NotLive(0)));
    let late = freed.record(4, &[0, 9]);
    assert_eq!(problem(&late.bytes()), (at + 4, Problem::NotLive(0)));
}

#[test]
fn damaged_traces_never_panic() {
    let original = sample().bytes();
    let cache = requests(2, 1, &[(0x31, &[7, 0, 4, 100, 60]), (9, &[1, 0])]);
    Trace::parse(&cache).expect("valid");
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for round in 0..200_000 {
        let mut bytes = if round % 2 == 0 { original.clone() } else { cache.clone() };
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            let other = random.u8(..);
            bytes[at] = random.choice([0, 1, 0x7f, 0x80, 0xff, other]).unwrap_or(0);
        }
        refused += u32::from(Trace::parse(&bytes).is_err());
    }
    assert!(refused > 100_000, "{refused}");
}

#[test]
fn requests_become_the_allocations_of_a_cache() {
    // The last sizes of the keys are 100, 50 and 50: the limit is 100.
    let bytes = requests(
        8,
        3,
        &[
            (0, &[0, 8, 60]),       // key 0 misses: object 0
            (0x10, &[5, 0, 8, 50]), // key 1 misses, key 0 goes: object 1
            (0, &[1, 50]),          // key 1 hits
            (0, &[0, 8, 50]),       // key 2 misses: object 2
            (0, &[2, 0]),           // a read that knows no size only touches key 1
            (1, &[1, 50]),          // key 2 is written anew: object 3
            (9, &[2, 0]),           // key 1 is deleted
            (0, &[3, 100]),         // key 0 comes back larger, key 2 goes: object 4
        ],
    );
    let trace = Trace::parse(&bytes).expect("valid");
    let records: Vec<_> =
        trace.records().iter().map(|record| (record.op, record.object, record.size)).collect();
    let (new, free) = (Op::Allocate, Op::Free);
    assert_eq!(
        records,
        [
            (new, 0, 60),
            (free, 0, 60),
            (new, 1, 50),
            (new, 2, 50),
            (free, 2, 50),
            (new, 3, 50),
            (free, 1, 50),
            (free, 3, 50),
            (new, 4, 100),
        ]
    );
}

#[test]
fn wrong_requests_are_refused() {
    assert_eq!(problem(&requests(1, 1, &[(0x40, &[0, 0, 0])])).1, Problem::Tag(0x40));
    let far = Problem::Distance { distance: 2, next: 0 };
    assert_eq!(problem(&requests(1, 0, &[(0, &[2, 5])])), (30, far));
    let keys = Problem::Differs { what: "keys", header: 0, found: 1 };
    assert_eq!(problem(&requests(1, 0, &[(0, &[0, 8, 5])])), (16, keys));
    assert!(matches!(problem(&requests(9, 1, &[])).1, Problem::TooMany { .. }));
    let long = requests(1, 1, &[(0, &[0, 8, u64::MAX])]);
    assert_eq!(problem(&long).1, Problem::Size(u64::MAX));
    let trailing = requests(1, 1, &[(0, &[0, 8, 5]), (0, &[1, 5])]);
    assert_eq!(problem(&trailing).1, Problem::Trailing(3));
}

#[test]
fn files_are_read_compressed_and_plain() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = sample();
    writer.metadata = b"{}".to_vec();
    let plain = folder.path().join("some.atrace");
    std::fs::write(&plain, writer.bytes()).expect("write");
    assert_eq!(Trace::read(&plain).expect("valid").name(), "some");

    let packed = folder.path().join("other.atrace.zst");
    let mut frame = compress(&sample().bytes());
    std::fs::write(&packed, &frame).expect("write");
    assert_eq!(Trace::read(&packed).expect("valid").name(), "made");

    for length in 4..frame.len() {
        std::fs::write(&packed, &frame[..length]).expect("write");
        let error = Trace::read(&packed).expect_err("cut off");
        assert!(matches!(error, ReadError::Compression { .. }), "{error}");
    }
    let last = frame.len() - 1;
    frame[last] ^= 1; // in the checksum
    std::fs::write(&packed, &frame).expect("write");
    assert!(matches!(Trace::read(&packed), Err(ReadError::Compression { .. })));
    assert!(matches!(Trace::read(folder.path()), Err(ReadError::Io { .. })));
    assert!(matches!(Trace::read(&folder.path().join("none")), Err(ReadError::Io { .. })));
}

#[cfg(unix)]
#[test]
fn a_file_without_end_that_is_no_trace_is_refused_at_its_start() {
    let error = Trace::read("/dev/zero".as_ref()).expect_err("no trace");
    let not_a_trace = ParseError { offset: 0, problem: Problem::NotATrace };
    assert!(matches!(error, ReadError::Format { source, .. } if source == not_a_trace));
}

#[test]
fn a_file_that_expands_too_far_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bomb.zst");
    let zeroes = compress(&vec![0; 80 << 20]);
    assert!(zeroes.len() < 100_000);
    std::fs::write(&path, zeroes).expect("write");
    let error = Trace::read(&path).expect_err("too large");
    assert!(matches!(error, ReadError::TooLarge { limit: 67_108_864, .. }), "{error}");
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("a checksum");
    std::io::Write::write_all(&mut encoder, bytes).expect("compress");
    encoder.finish().expect("finish")
}
