//! The program `memory` as a whole, in its shortest form, and what it finds wrong.

use anyhow::{Context, Result};
use benches::footprint::blocks::Blocks;
use benches::footprint::cache::Cache;
use benches::footprint::shift::Shift;
use benches::footprint::thinned::Thinned;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Without cargo: the programs beside it are those of this build.
fn memory(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memory"));
    command.args(arguments).env_remove("CARGO").output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

const TINY: [&str; 5] = ["--quick", "--live-mib", "1", "--rounds", "1"];

#[test]
fn json_lines_and_a_picture() {
    let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("memory.svg");
    let path = picture.to_str().expect("text");
    let what = ["--workload", "W3,R1,R4,H2", "--json", "--picture", path];
    let output = memory(&[&TINY[..], &what].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let named = |workload: &str, allocator: &str| {
        let mut lines = lines
            .iter()
            .filter(|line| line["workload"] == workload && line["allocator"] == allocator);
        lines.next().unwrap_or_else(|| panic!("{workload}, {allocator} is missing"))
    };
    for allocator in ["ours", "glibc", "jemalloc", "mimalloc"] {
        for workload in ["W3", "R1", "R4"] {
            let line = named(workload, allocator);
            let has = |field: &str| line[field].as_f64().is_some_and(|figure| figure > 0.0);
            assert!(has("deleted_factor") && has("peak_factor") && has("elapsed_s"), "{line}");
            assert_eq!(has("defragmented_factor"), allocator == "ours", "{line}");
            assert_eq!(has("end_factor"), workload == "W3", "{line}");
            let is_eager = line["background_cpu_share"] == 1.0;
            assert_eq!(is_eager, allocator == "ours" && workload == "W3", "{line}");
            assert_eq!(line["met"].is_boolean(), allocator == "ours", "{line}");
        }
    }
    let live = |allocator| &named("W3", allocator)["checkpoints"][0]["live_bytes"];
    assert!(live("ours").is_u64() && live("ours") == live("mimalloc"));
    assert!(named("H2", "ours")["efficiency"].as_f64().is_some_and(|share| share > 0.5));
    assert_eq!(lines.len(), 3 * 4 + 1);
    let drawn = fs::read_to_string(&picture).expect("a picture");
    assert!(["W3", "R4", "jemalloc", "polyline"].iter().all(|it| drawn.contains(it)));
}

#[test]
fn a_table_and_a_verdict() {
    let what = ["--workload", "W7", "--allocator", "glibc,ours", "--strict"];
    let output = memory(&[&TINY[..], &what].concat());
    let text = stdout(&output);
    assert!(text.contains("ours") && text.contains("glibc") && !text.contains("jemalloc"));
    assert!(text.contains("target <= 1.15") && text.contains("slab headers"), "{text}");
    let is_met = text.ends_with("\n4 of 4 targets met\n");
    assert!(is_met || text.lines().any(|line| line.starts_with("missed: W7")), "{text}");
    assert_eq!(output.status.code(), Some(i32::from(!is_met)));
}

#[test]
fn what_is_unusable_is_said_in_one_line() {
    for arguments in [
        &["--workload", "W9"][..],
        &["--allocator", "none"],
        &["--live-mib", "0"],
        &["--picture", "a.png"],
        &["--workload", "H1", "--allocator", "glibc"],
    ] {
        let output = memory(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2));
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    }
    assert!(stdout(&memory(&["--help"])).contains("--live-mib"));
}

const NONE: u8 = 0;
const MIXES_CONTENT: u8 = 1;
const TEARS_CONTENT: u8 = 2;
const FORGETS: u8 = 3;
const KEEPS_REMOVED: u8 = 4;
const IS_FULL: u8 = 5;

/// Keeps blocks, with one of the faults above.
#[derive(Debug, Default)]
struct Faulty<const FAULT: u8> {
    blocks: HashMap<u32, Vec<u8>>,
    next: u32,
}

impl<const FAULT: u8> Blocks for Faulty<FAULT> {
    type Key = u32;

    fn with_room(_bytes: u64) -> Result<Self> {
        Ok(Self::default())
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<u32> {
        self.next += 1;
        let mut bytes = bytes.to_vec();
        let is_faulty = self.next == 700;
        match FAULT {
            MIXES_CONTENT if is_faulty => bytes.rotate_left(1),
            TEARS_CONTENT if is_faulty => *bytes.last_mut().context("no byte")? ^= 1,
            IS_FULL if is_faulty => anyhow::bail!("full"),
            _ => {}
        }
        self.blocks.insert(self.next, bytes);
        Ok(self.next)
    }

    fn remove(&mut self, key: u32) -> Result<()> {
        if FAULT == KEEPS_REMOVED && key == 7 {
            return Ok(());
        }
        self.blocks.remove(&key).map(drop).context("gone")
    }

    fn holds(&self, key: &u32, bytes: &[u8]) -> bool {
        self.blocks.get(key).is_some_and(|block| *block == bytes)
    }

    fn live(&self) -> Option<u64> {
        Some(self.blocks.len() as u64 - u64::from(FAULT == FORGETS))
    }
}

/// In each kind of scenario.
fn is_refused<const FAULT: u8>() -> [bool; 3] {
    let shift = Shift { before: 100..=150, deleted: 0.0, after: 200..=250 };
    let cache = Cache { sizes: [150, 300], charge: 85, in_one_go: false };
    let thinned = Thinned { before: (800, 64..=128), survivors: 799, in_turn: false, after: None };
    [
        shift.measure::<Faulty<FAULT>>(32 << 10, 1).is_err(),
        cache.measure::<Faulty<FAULT>>(1000, 1).is_err(),
        thinned.measure::<Faulty<FAULT>>(1, 1).is_err(),
    ]
}

#[test]
fn faults_of_blocks_are_found() {
    assert_eq!(is_refused::<NONE>(), [false; 3]);
    assert_eq!(is_refused::<FORGETS>(), [true; 3]);
    assert_eq!(is_refused::<IS_FULL>(), [true; 3]);
    // What is deleted before it is looked at, or is not deleted, is no matter.
    assert!(is_refused::<MIXES_CONTENT>()[2] && is_refused::<TEARS_CONTENT>()[2]);
    assert_eq!(is_refused::<KEEPS_REMOVED>()[..2], [true; 2]);
}
