//! What `/proc` says of a server.

use std::{fs, time::Duration};

use anyhow::Context;

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) operation: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

/// How a figure is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Processor time per operation, kept in microseconds.
    PerOperation,
    /// Processor time per GiB moved, kept in seconds.
    PerGib,
    /// Peak resident memory, kept in MiB.
    Memory,
}

impl Figures {
    pub(crate) fn print(&self) -> String {
        match self.unit {
            Unit::PerOperation if self.value >= 1000.0 => format!("{:.2} ms", self.value / 1000.0),
            Unit::PerOperation => format!("{:.0} µs", self.value),
            Unit::PerGib => format!("{:.2} s/GiB", self.value),
            Unit::Memory => format!("{:.0} MiB", self.value),
        }
    }
}

/// The kernel's clock tick for `/proc/<pid>/stat`: 100 per second on every Linux that Portreeve supports.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that the process has used so far, its ended threads included.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields behind it are numbers. utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').context("stat has no name")?.1;
    let ticks: u32 =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap_or_default()).sum();
    Ok(TICK * ticks)
}

/// Begins the peak of resident memory anew.
pub(crate) fn forget_peak_memory(pid: u32) -> anyhow::Result<()> {
    // Five is the kernel's number for "the peak, and nothing else".
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of memory cannot be begun anew")
}

/// Peak resident memory in MiB.
pub(crate) fn peak_memory(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}
