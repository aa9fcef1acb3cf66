//! Tests that run in a process of their own, because they look at its memory.

use std::process::Command;

/// Stands in the environment of a process that runs one test.
const ALONE: &str = "PORTREEVE_TEST_ALONE";

/// True in a process that runs this test and no other. Anywhere else one is started, and this test passes if that one does.
pub(crate) fn is_alone(module: &str, test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let (_, module) = module.split_once("::").unwrap();
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args([&format!("{module}::{test}"), "--exact", "--nocapture", "--include-ignored"]).env(ALONE, "1");
    let ran = alone.output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    eprintln!("{said}");
    false
}

/// A line of the kernel's about the memory of this process (`VmRSS`, `VmHWM`), in MiB.
pub(crate) fn memory_mib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}
