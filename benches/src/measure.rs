//! What `/proc` says of a server.

use std::{fs, fs::File, io::Write, path::Path, time::Duration};

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
    /// Operations in a second of the clock on the wall, of server and clients together.
    Rate,
    /// Peak resident memory, kept in MiB.
    Memory,
}

impl Figures {
    pub(crate) fn print(&self) -> String {
        match self.unit {
            Unit::PerOperation if self.value >= 1000.0 => format!("{:.2} ms", self.value / 1000.0),
            Unit::PerOperation => format!("{:.0} µs", self.value),
            Unit::PerGib => format!("{:.2} s/GiB", self.value),
            Unit::Rate if self.value < 100.0 => format!("{:.1} /s", self.value),
            Unit::Rate => format!("{:.0} /s", self.value),
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

/// Fills this many bytes of the machine's memory with a file in the directory, and gives them back.
///
/// The first touch of a page of a virtual machine's memory is a fault that its host answers, and its time is charged to whoever writes
/// there: 0.65 s/GiB were measured, as much as the hash. What an upload costs would depend on what the machine did before.
pub(crate) fn touch_memory(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    let path = directory.join("touched");
    let mut file = File::create_new(&path)?;
    let piece = vec![1; 1 << 20];
    for _ in 0..bytes.div_ceil(piece.len() as u64) {
        file.write_all(&piece)?;
    }
    fs::remove_file(path).context("the file that touched memory stays")
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let me = std::process::id();
        let before = processor_time(me).unwrap();
        let begun = Instant::now();
        let mut sum = 0_u64;
        // Threads of other tests count too, but none of them can give time back.
        while processor_time(me).unwrap() < before + 5 * TICK {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
            assert!(begun.elapsed() < Duration::from_secs(60), "no work was counted");
        }
        let mut asleep = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let slept = processor_time(asleep.id()).unwrap();
        asleep.kill().unwrap();
        asleep.wait().unwrap();
        assert!(slept <= 5 * TICK, "{slept:?}");
    }

    #[test]
    fn the_peak_stays_when_memory_is_given_back_and_begins_anew_when_asked() {
        let me = std::process::id();
        let before = peak_memory(me).unwrap();
        drop(std::hint::black_box(vec![1_u8; 128 << 20]));
        let after = peak_memory(me).unwrap();
        assert!(after > before.max(120.0), "{before} and then {after} MiB");
        forget_peak_memory(me).unwrap();
        assert!(peak_memory(me).unwrap() < after - 64.0);
    }

    #[test]
    fn memory_is_touched_and_the_file_is_gone() {
        let home = tempfile::tempdir().unwrap();
        touch_memory(home.path(), (3 << 20) + 1).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn figures_are_printed_in_the_unit_that_they_are_kept_in() {
        let print = |value, unit| Figures { operation: "", value, unit }.print();
        assert_eq!(print(35.4, Unit::PerOperation), "35 µs");
        assert_eq!(print(4_051.0, Unit::PerOperation), "4.05 ms");
        assert_eq!(print(1.374, Unit::PerGib), "1.37 s/GiB");
        assert_eq!(print(9_876.5, Unit::Rate), "9876 /s");
        assert_eq!(print(38.25, Unit::Rate), "38.2 /s");
        assert_eq!(print(39.6, Unit::Memory), "40 MiB");
    }
}
