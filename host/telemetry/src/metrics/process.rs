//! What the operating system knows of this process, by the names that all Prometheus libraries use. Linux only: elsewhere
//! there is nothing but the build.

use super::{Families, Source};
use std::fs;
use std::path::Path;

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version, such as `0.1.0`.
    pub version: &'static str,
    /// The commit it was built from; empty where it is not known.
    pub commit: &'static str,
}

/// Memory, CPU time, file handles and threads of the process, and [`BuildInfo`].
#[derive(Debug)]
pub struct ProcessSource {
    build: BuildInfo,
}

impl ProcessSource {
    /// Says `build` of the program.
    #[must_use]
    pub fn new(build: BuildInfo) -> Self {
        Self { build }
    }
}

impl Source for ProcessSource {
    fn collect(&self, families: &mut Families) {
        let labels = [("version", self.build.version), ("commit", self.build.commit)];
        let labels = if self.build.commit.is_empty() { &labels[..1] } else { &labels[..] };
        families.info("waggle_build_info", "The program that runs").add(labels);
        let process = Path::new("/proc/self");
        if let Ok(status) = fs::read_to_string(process.join("status")) {
            let mut number = |name, field, help| {
                if let Some(kib) = field_of(&status, field) {
                    families.gauge(name, help).add(&[], kib * 1024);
                }
            };
            number("process_resident_memory_bytes", "VmRSS:", "Memory that is resident");
            number("process_virtual_memory_bytes", "VmSize:", "Address space that is taken");
            if let Some(threads) = field_of(&status, "Threads:") {
                families.gauge("process_threads", "Threads").add(&[], threads);
            }
        }
        if let Some(times) = fs::read_to_string(process.join("stat")).ok().as_deref().and_then(times_of) {
            let ticks = ticks_per_second();
            let cpu = seconds(times.cpu_ticks, ticks);
            families.counter("process_cpu_seconds_total", "CPU time, of user and system").add(&[], cpu);
            if let Some(boot) =
                fs::read_to_string("/proc/stat").ok().and_then(|stat| field_of(&stat, "btime "))
            {
                let started = seconds(boot * ticks + times.start_ticks, ticks);
                let help = "When the process started, since the epoch";
                families.gauge("process_start_time_seconds", help).add(&[], started);
            }
        }
        if let Some(open) = open_handles(&process.join("fd")) {
            families.gauge("process_open_fds", "File handles that are open").add(&[], open);
        }
        if let Some(most) = handles_max() {
            families.gauge("process_max_fds", "File handles that may be open").add(&[], most);
        }
    }
}

/// The number behind the line that begins with `field`.
fn field_of(text: &str, field: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[derive(Debug, PartialEq, Eq)]
struct Times {
    cpu_ticks: u64,
    /// Since the machine started.
    start_ticks: u64,
}

/// The times of `/proc/PID/stat`, proc(5). The name of the program comes second, in parentheses, and may hold any
/// character; after it there are numbers only.
fn times_of(stat: &str) -> Option<Times> {
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace().map(str::parse::<u64>);
    // Fields count from 1, and the first after the name is number 3.
    let user = numbers.nth(14 - 3)?.ok()?;
    let system = numbers.next()?.ok()?;
    let start_ticks = numbers.nth(22 - 16)?.ok()?;
    Some(Times { cpu_ticks: user + system, start_ticks })
}

/// How many handles are open. Since Linux 6.2 the folder's size says it; before, its entries have to be counted, of which
/// one is the folder itself, open for that.
fn open_handles(folder: &Path) -> Option<u64> {
    let said = fs::metadata(folder).ok()?.len();
    if said > 0 {
        return Some(said);
    }
    Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1))
}

#[cfg(target_os = "linux")]
fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(target_os = "linux")]
fn handles_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> u64 {
    1
}

#[cfg(not(target_os = "linux"))]
fn handles_max() -> Option<u64> {
    None
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a hundredth of a second does not matter after a million years"
)]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_program_is_called() {
        let numbers = "S 1 2 3 4 5 6 7 8 9 10 250 50 11 12 13 14 15 16 9000 17 18";
        for name in ["waggle", "a) S 1 (b", "x y z"] {
            let times = times_of(&format!("42 ({name}) {numbers}"));
            assert_eq!(times, Some(Times { cpu_ticks: 300, start_ticks: 9_000 }), "{name}");
        }
        assert_eq!(times_of("42 (waggle) S 1"), None);
    }

    #[test]
    fn a_field_is_the_number_of_its_line() {
        let check = |field, expected| assert_eq!(field_of("VmRSS:\t  12 kB\nThreads:\t3\n", field), expected);
        check("VmRSS:", Some(12));
        check("Threads:", Some(3));
        check("VmSwap:", None);
    }
}
