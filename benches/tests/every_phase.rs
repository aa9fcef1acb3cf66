//! The load program itself: every phase runs against a real server, once.
//!
//! What it measures says nothing here, on a build without optimization beside other tests; that each line is there, and is a figure, does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

const OPERATIONS: [&str; 19] = [
    "push an image of 3 × 256 KiB",
    "push 1 MB (POST, PATCH, PUT)",
    "PUT manifest with a new tag",
    "GET manifest by tag",
    "… with a token never seen before",
    "HEAD blob, by a pusher",
    "HEAD blob, by a reader",
    "tags/list of 200",
    "upload of 256 MiB",
    "GET 10 MB blob",
    "GET 256 MiB blob",
    "peak resident memory",
    "token by robot key",
    "tokens a second by robot key",
    "token by a remembered password",
    "tokens a second by a remembered password",
    "token by a password to be hashed",
    "tokens a second by a password to be hashed",
    "catalog, 100 of 100,000",
];

/// The program of the same build: cargo puts it beside this one when the workspace is built.
fn portreeve() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_portreeve-bench")).with_file_name("portreeve");
    assert!(path.exists(), "{} is not built: cargo build --package portreeve", path.display());
    path
}

/// The table's lines behind its heading.
fn run(more: &[&str]) -> Vec<String> {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_portreeve-bench"));
    let output = bench.arg("--portreeve").arg(portreeve()).args(["--divide", "1000000"]).args(more).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().lines().skip(2).map(str::to_owned).collect()
}

fn line<'a>(lines: &'a [String], operation: &str) -> Vec<&'a str> {
    let line = lines.iter().find_map(|line| line.strip_prefix(operation));
    line.unwrap_or_else(|| panic!("no line of {operation:?}: {lines:#?}")).split_whitespace().collect()
}

#[test]
fn every_operation_is_a_line_with_a_figure() {
    let lines = run(&["--peer", "/nowhere", "--nginx", "/nowhere"]);
    assert_eq!(lines.len(), OPERATIONS.len(), "{lines:#?}");
    for operation in OPERATIONS {
        let words = line(&lines, operation);
        let figure: f64 = words[0].parse().unwrap();
        assert!(figure >= 0.0 && ["µs", "ms", "s/GiB", "MiB", "/s"].contains(&words[1]), "{operation}: {words:?}");
    }
    let memory: f64 = line(&lines, "peak resident memory")[0].parse().unwrap();
    assert!(memory > 10.0, "{memory} MiB");
    let words = line(&lines, "token by a password to be hashed");
    assert_eq!(words[1], "ms", "a password was remembered: {words:?}");
    let hashed: f64 = line(&lines, "upload of 256 MiB")[0].parse().unwrap();
    assert!(hashed > 0.1, "a GiB was hashed and written in {hashed} s");
}

#[test]
#[ignore = "needs docker-registry, nginx"]
fn others_stand_beside_it_in_what_they_can_do() {
    let lines = run(&[]);
    for (operation, figures) in [("GET 10 MB blob", 2), ("upload of 256 MiB", 1), ("token by robot key", 0)] {
        let words = line(&lines, operation);
        assert_eq!(words.iter().filter(|word| **word == "–").count(), 2 * (2 - figures), "{operation}: {words:?}");
    }
}

#[test]
fn a_part_can_be_measured_alone() {
    let lines = run(&["--only", "tokens"]);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert_eq!(line(&lines, "tokens a second by robot key")[1], "/s");
}
