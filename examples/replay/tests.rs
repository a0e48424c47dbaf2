//! Whole replays of small traces, and what happens when something is wrong.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use std::fs;
use std::path::Path;

use clap::Parser;
use examples::trace::{Op, Record, Trace};
use serde_json::Value;
use support::Writer;
use typed_pool::{Handle, Policy};

use crate::options::Options;
use crate::outcome::Report;
use crate::picture::{self, PictureFile};
use crate::plan::{Home, Plan};
use crate::progress::Progress;
use crate::replay::replay;
use crate::store::Store;
use crate::summary;
use crate::verdict::Checks;
use crate::{bundled, replay_all};

fn options(line: &str) -> Options {
    Options::try_parse_from(std::iter::once("replay").chain(line.split_whitespace()))
        .expect("valid options")
}

/// A random trace of three threads with every operation, which grows, shrinks and grows again.
fn random_trace(records: usize, seed: u64) -> Trace {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writer = Writer::new();
    writer.threads = 3;
    let mut live: Vec<(u64, u64)> = Vec::new(); // object, size
    let (mut bytes, mut peak, mut peak_objects) = (0, 0, 0);
    for index in 0..records {
        let growing = index * 3 / records != 1;
        let next = writer.objects;
        let size = random.choice([0, 1, 8, 20, 24, 50, 100, 248, 249, 600, 5000]).unwrap_or(0);
        let thread = random.u64(..3);
        let what = if live.is_empty() { 0 } else { random.usize(..10) };
        writer = match what {
            0..=3 if growing || live.is_empty() => {
                live.push((next, size));
                bytes += size;
                match what {
                    0 => writer.record(1 | 8, &[thread, size]),
                    1 => writer.record(2 | 8, &[thread, random.u64(..8), size]),
                    _ => writer.record(8, &[thread, size]),
                }
            }
            4 => {
                let entry = random.usize(..live.len());
                bytes = bytes - live[entry].1 + size;
                live[entry].1 = size;
                writer.record(4 | 8, &[thread, next - 1 - live[entry].0, size])
            }
            _ if growing && what > 6 => {
                live.push((next, size));
                bytes += size;
                writer.record(8, &[thread, size])
            }
            _ => {
                let (object, size) = live.swap_remove(random.usize(..live.len()));
                bytes -= size;
                writer.record(3 | 8, &[thread, next - 1 - object])
            }
        };
        peak = peak.max(bytes);
        peak_objects = peak_objects.max(live.len() as u64);
    }
    Trace::parse(&writer.peaks(peak, peak_objects).bytes()).expect("valid")
}

fn report(trace: &Trace, line: &str) -> Report {
    let outcome = replay(trace, &options(line), &Progress::new(true)).expect("a replay");
    Report::new(vec![outcome])
}

#[test]
fn every_mode_and_policy_keeps_every_object() {
    let trace = random_trace(6_000, 1);
    for policy in Policy::ALL {
        for mode in ["off", "background", "every:500"] {
            for threads in [1, 3] {
                let line = format!("--threads {threads} --policy {policy} --defragment {mode}");
                let report = report(&trace, &line);
                let total = &report.total;
                assert_eq!(report.traces[0].notes, [""; 0], "{line}");
                assert_eq!((total.mismatches, total.failed_allocations), (0, 0), "{line}");
                assert_eq!(total.ops, 6_000, "{line}");
                assert!(total.verified > 6_000, "{line}: {}", total.verified);
                assert!(total.peak_live_bytes > trace.peak_bytes() / 2, "{line}");
                if threads == 1 {
                    assert_eq!(total.peak_live_bytes, trace.peak_bytes(), "{line}");
                }
                let defragmented = total.defragmentations > 0;
                assert_eq!(defragmented, mode != "off", "{line}");
            }
        }
    }
}

#[test]
fn a_heap_that_is_too_small_is_reported_and_harms_nothing() {
    let trace = random_trace(6_000, 2);
    let report = report(&trace, "--threads 2 --capacity 256KiB --defragment every:1000");
    assert!(report.total.failed_allocations > 0);
    assert_eq!((report.total.mismatches, report.total.ops), (0, 6_000));
    assert!(!report.all_right());
    assert!(summary::text(&report).contains("found no room"));
}

#[test]
fn a_trace_without_records_is_replayed() {
    let trace = Trace::parse(&Writer::new().bytes()).expect("valid");
    let report = report(&trace, "--threads 2");
    assert_eq!((report.total.ops, report.total.peak_live_bytes), (0, 0));
    assert!(report.all_right());
}

#[test]
fn impossible_sizes_are_failed_allocations() {
    let huge = i64::MAX as u64 - 100;
    let writer = Writer::new().record(0, &[8]).record(0, &[huge]).record(4, &[0, 7]);
    let trace = Trace::parse(&writer.peaks(huge + 8, 2).bytes()).expect("valid");
    let failed = report(&trace, "--capacity 1MiB").total.failed_allocations;
    assert_eq!(failed, 1);
    let error = replay(&trace, &options(""), &Progress::new(true)).expect_err("no such heap");
    assert!(format!("{error:#}").contains("cannot make a heap"), "{error:#}");
}

/// A store with objects 0 and 2 in a pool and object 1 in a raw block, all of 100 bytes, written
/// and right.
fn small_store() -> (Store, Checks) {
    let new = |writer: Writer| writer.record(0, &[100]);
    let writer = new(new(new(Writer::new()))).record(4, &[1, 100]);
    let trace = Trace::parse(&writer.peaks(300, 3).bytes()).expect("valid");
    let plan = Plan::new(&trace, 1);
    assert_eq!(plan.homes, [Home::Pool(2), Home::Raw { align_log2: 4 }, Home::Pool(2)]);
    let store = Store::new(1 << 20, Policy::default(), &plan.homes).expect("a heap");
    let mut checks = Checks::default();
    for record in &trace.records()[..3] {
        store.allocate(record, &mut checks).expect("room");
    }
    store.check_everything(&mut checks);
    store.check_shared(&[0, 1, 2], &mut checks);
    assert_eq!((checks.verified, checks.mismatches), (12, 0));
    (store, checks)
}

#[test]
fn a_changed_byte_is_noticed() {
    let (store, mut checks) = small_store();
    let handle = store.cell(1).handle().and_then(Handle::from_bits).expect("live");
    store.heap.write(handle).expect("a block")[99] ^= 1;
    store.check_shared(&[0, 1], &mut checks);
    assert_eq!(checks.notes, ["object 1: the contents are wrong"]);
    store.check_everything(&mut checks);
    assert_eq!(checks.mismatches, 2);
}

#[test]
fn a_lost_object_and_a_wrong_handle_are_noticed() {
    let (store, mut checks) = small_store();
    let handle = store.cell(1).handle().and_then(Handle::from_bits).expect("live");
    store.heap.deallocate(handle).expect("a block");
    store.check_shared(&[1], &mut checks);
    assert_eq!(checks.notes, ["object 1: the handle of a live object is refused"]);
    store.cell(0).open(store.cell(2).handle().expect("live"), 100);
    store.check_shared(&[0], &mut checks);
    assert_eq!(checks.notes[1], "object 0: the handle leads to another object");
}

#[test]
fn a_size_that_differs_is_noticed() {
    let (store, mut checks) = small_store();
    let handle = store.cell(1).handle().and_then(Handle::from_bits).expect("live");
    store.heap.resize(handle, 99).expect("room");
    store.check_shared(&[1], &mut checks);
    assert_eq!(checks.notes, ["object 1: the block has another size"]);
}

#[test]
fn the_plan_links_the_records_of_each_object() {
    let trace = random_trace(5_000, 3);
    let plan = Plan::new(&trace, 2);
    let mut after = vec![None; trace.records().len()];
    for (worker, steps) in plan.steps.iter().enumerate() {
        assert!(steps.is_sorted_by_key(|step| step.record));
        for step in steps {
            let Record { thread, .. } = trace.records()[step.record as usize];
            assert_eq!(usize::from(thread) % 2, worker);
            after[step.record as usize] = Some(step.after);
        }
    }
    let mut last = vec![0; trace.objects() as usize];
    for (index, record) in trace.records().iter().enumerate() {
        assert_eq!(after[index], Some(last[record.object as usize]));
        last[record.object as usize] = index as u32 + 1;
        let raw = matches!(plan.homes[record.object as usize], Home::Raw { .. });
        let needs_raw = matches!(record.op, Op::AllocateAligned | Op::Reallocate);
        assert!(raw || (!needs_raw && record.size <= 248));
    }
}

#[test]
fn the_measured_point_has_the_most_free_memory() {
    let (big, small) = (900, 100);
    let writer = Writer::new()
        .record(0, &[small])
        .record(0, &[big])
        .record(3, &[0]) // 100 of 1000 bytes are live: the point
        .record(0, &[big])
        .record(3, &[2]) // 900 bytes
        .record(3, &[0]); // none, which is too little
    let trace = Trace::parse(&writer.peaks(1000, 2).bytes()).expect("valid");
    assert_eq!(Plan::new(&trace, 1).measure_at, 3);
    assert_eq!(report(&trace, "").traces[0].measured.live_bytes, 100);
}

#[test]
fn the_json_has_the_promised_fields() {
    let report = report(&random_trace(2_000, 4), "--threads 2");
    let json: Value = serde_json::to_value(&report).expect("JSON");
    for field in [
        "ops",
        "verified",
        "mismatches",
        "failed_allocations",
        "peak_live_bytes",
        "moves",
        "moved_bytes",
        "resident_before",
        "resident_after",
        "fragmentation_before",
        "fragmentation_after",
        "elapsed_s",
    ] {
        assert!(json[field].is_number(), "{field}");
        assert_eq!(json[field], json["traces"][0][field], "{field}");
    }
}

#[test]
fn the_summary_and_the_picture_show_every_trace() {
    let (one, two) = (random_trace(2_000, 5), random_trace(2_000, 6));
    let outcomes =
        [&one, &two].map(|trace| replay(trace, &options(""), &Progress::new(true)).expect("run"));
    let report = Report::new(outcomes.to_vec());
    let text = summary::text(&report);
    assert!(text.contains("all traces") && text.contains("4,000 records"), "{text}");
    assert_eq!(text.matches("no mismatch").count(), 3, "{text}");
    let picture = picture::draw(&report).to_string();
    assert_eq!(picture.matches("before: ").count(), 2);
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
}

#[test]
fn the_bundled_traces_are_valid() {
    for path in bundled() {
        let trace = Trace::read(&path).expect("valid");
        assert!(trace.records().len() > 100_000 && !trace.description().is_empty());
    }
}

#[test]
fn unusable_files_are_refused_before_the_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    fs::write(&good, Writer::new().bytes()).expect("write");
    fs::write(&bad, &Writer::new().bytes()[..30]).expect("write");
    let run = |paths: &[&Path], picture: Option<&Path>| {
        let mut options = options("--json");
        options.traces = paths.iter().map(|path| path.to_path_buf()).collect();
        options.picture = picture.map(Path::to_path_buf);
        replay_all(&options).map_err(|error| format!("{error:#}"))
    };
    let picture = folder.path().join("picture.svg");
    let error = run(&[&good, &bad], Some(&picture)).expect_err("cut off");
    assert!(error.contains("bad is not a valid trace: byte 30: the file ends"), "{error}");
    assert!(!picture.exists(), "an empty picture is left behind");
    let error = run(&[&folder.path().join("none")], None).expect_err("no such file");
    assert!(error.contains("cannot read"), "{error}");
    let error = run(&[&good], Some(folder.path())).expect_err("a folder");
    assert!(error.contains("cannot write the picture"), "{error}");
    assert!(run(&[&good, &good], Some(&picture)).expect("valid").all_right());
    assert!(fs::read_to_string(&picture).expect("a picture").contains("</svg>"));
}

#[test]
fn a_picture_replaces_what_the_file_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old");
    fs::write(&path, "x".repeat(100_000)).expect("write");
    drop(PictureFile::open(&path).expect("a file"));
    assert_eq!(fs::metadata(&path).expect("kept").len(), 100_000);
    let report = Report::new(Vec::new());
    PictureFile::open(&path).expect("a file").write(&picture::draw(&report)).expect("written");
    let text = fs::read_to_string(&path).expect("a picture");
    assert!(text.trim_end().ends_with("</svg>"), "{text}");
}
