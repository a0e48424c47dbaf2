//! The program `latency` as a whole, in its shortest form.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn latency(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latency"));
    command.args(arguments).output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const READERS: [&str; 5] = ["--quick", "--only", "readers", "--objects", "1000"];

#[test]
fn json_lines_and_a_picture() {
    let picture = picture("latency.svg");
    let path = picture.to_str().expect("text");
    let output =
        latency(&[&READERS[..], &["--rate", "20000", "--json", "--picture", path]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |section: &str| lines.iter().filter(|line| line["section"] == section).count();
    // Three scenes at two paces; of the targets one is a throughput.
    assert_eq!((of("readers"), of("target"), lines.len()), (6, 3, 9));
    for line in &lines[..6] {
        for figure in ["reads", "reads_per_s", "raw_p50_ns", "raw_p999_ns", "raw_worst_ns"] {
            assert!(line[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {line}");
        }
        assert!(line["left_out"].is_u64() && line["background_moves"].is_u64(), "{line}");
    }
    assert!(lines[6..].iter().all(|line| line["met"].is_boolean() && line["limit"].is_number()));
    let drawn = fs::read_to_string(&picture).expect("a picture");
    assert!(["20000 a second", "polyline"].iter().all(|it| drawn.contains(it)));
}

#[test]
fn too_few_reads_meet_no_target() {
    let output = latency(&[&READERS[..], &["--rate", "100", "--strict"]].concat());
    match output.status.code() {
        // Not a thousand reads in a scene: no figure.
        Some(1) => {
            let text = stdout(&output);
            let mut lines = text.lines();
            let line =
                lines.find(|line| line.contains("p99.9 of a read") && line.contains("100 a"));
            let line = line.expect("a target");
            assert!(line.contains("MISSED") && line.contains("not measured"), "{text}");
        }
        // None at all in one of them.
        Some(2) => {
            let error = String::from_utf8(output.stderr).expect("text");
            assert!(error.contains("no read was timed") && error.lines().count() == 1, "{error}");
        }
        code => panic!("{code:?}"),
    }
}

#[test]
fn what_is_unusable_is_said_in_one_line_and_harms_no_file() {
    let other = picture("latency.txt");
    fs::write(&other, "precious").expect("written");
    for arguments in [
        &["--rate", "-1"][..],
        &["--objects", "-5"],
        &["--passes", "0"],
        &["--only", "nothing"],
        &["--unknown"],
        &["--picture", other.to_str().expect("text")],
    ] {
        let output = latency(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2));
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
        assert!(error.contains(arguments[0]) || error.contains(".svg"), "{error}");
    }
    assert_eq!(fs::read_to_string(&other).expect("it is there"), "precious");
    assert!(stdout(&latency(&["--help"])).contains("--passes"));
}
