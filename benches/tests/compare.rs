//! The program `compare` as a whole, in its shortest form.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Without cargo: the programs beside it are those of this build.
fn compare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(arguments).env_remove("CARGO").output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn json_lines_and_a_picture() {
    let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare.svg");
    let path = picture.to_str().expect("text");
    let only = ["--only", "hot, one guard", "--only", "remove and insert, 1,000"];
    let output =
        compare(&[&only[..], &["--quick", "--rounds", "2", "--json", "--picture", path]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let peers = |figure: &str| lines.iter().filter(|line| line["figure"] == figure).count();
    assert!(peers("read, 1,000 objects hot, one guard") > 5);
    assert!(peers("remove and insert, 1,000 objects hot") > 5);
    for line in &lines {
        let ratio = line["ratio"].as_f64().expect("a ratio");
        let target = line["target"].as_f64();
        assert_eq!(line["met"].as_bool(), target.map(|target| ratio <= target), "{line}");
        assert_eq!(line["rounds"], 2);
    }
    let drawn = fs::read_to_string(&picture).expect("a picture");
    assert!(drawn.contains("read, 1,000 objects hot, one guard") && drawn.contains("mimalloc"));
}

#[test]
fn a_table_and_a_verdict() {
    let output = compare(&["--quick", "--rounds", "1", "--only", "hot, own guard", "--strict"]);
    let text = stdout(&output);
    assert!(text.contains("sharded-slab") && text.contains("<= 0.2"), "{text}");
    let is_met = text.ends_with("2 of 2 targets met\n");
    assert!(is_met || text.lines().any(|line| line.starts_with("missed: ")), "{text}");
    assert_eq!(output.status.code(), Some(i32::from(!is_met)));
}

#[test]
fn what_is_unusable_is_said_in_one_line() {
    let arguments =
        [&["--only", "no such figure"][..], &["--picture", "a.png"], &["--rounds", "0"]];
    for arguments in arguments {
        let output = compare(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2));
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    }
    let listed = stdout(&compare(&["--list"]));
    assert!(listed.lines().count() > 10 && listed.contains("<= 0.35 (sharded-slab)"), "{listed}");
}
