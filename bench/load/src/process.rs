//! CPU and memory of a process and its children, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// What a process tree has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time, children that ended included.
    pub(crate) cpu_seconds: f64,
    /// Resident memory now; pages shared between processes count in each.
    pub(crate) rss_bytes: u64,
}

/// The fields of `/proc/PID/stat` that matter (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system ticks.
    ticks: u64,
    /// Those of children that ended and were waited for.
    child_ticks: u64,
    rss_pages: u64,
}

/// The CPU time and memory of the tree under `root`. A process that is gone counts nothing.
pub(crate) fn usage(root: u32) -> Usage {
    let stats = all_stats();
    tree(&stats, root).iter().filter_map(|pid| stats.get(pid)).fold(Usage::default(), Usage::plus)
}

/// The processes of the tree under `root`.
pub(crate) fn members(root: u32) -> Vec<u32> {
    tree(&all_stats(), root)
}

/// What these processes have used. Cheaper than looking for them again.
pub(crate) fn usage_of(members: &[u32]) -> Usage {
    let read = |pid: &u32| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    members.iter().filter_map(read).fold(Usage::default(), |sum, stat| sum.plus(&stat))
}

impl Usage {
    fn plus(self, stat: &Stat) -> Self {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        Self {
            cpu_seconds: self.cpu_seconds + (stat.ticks + stat.child_ticks) as f64 / ticks_per_second,
            rss_bytes: self.rss_bytes + stat.rss_pages * rustix::param::page_size() as u64,
        }
    }
}

/// The CPU time of one process without its children.
pub(crate) fn cpu_seconds_alone(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|line| parse(&line));
    stat.map_or(0.0, |stat| stat.ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// How many files a process may have open; `None` for any number, or when it is gone.
pub(crate) fn files_max(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether there is such a process, zombies excluded.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|line| line.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// The memory of one process, in detail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Resident: `VmRSS`.
    pub(crate) rss_bytes: u64,
    /// Resident, where pages shared with other processes count in part.
    pub(crate) pss_bytes: u64,
    /// Of the resident, what the kernel may take back when it likes (`MADV_FREE`).
    pub(crate) lazy_free_bytes: u64,
    /// Entries of `/proc/PID/maps`.
    pub(crate) mappings: u64,
}

/// The memory of the process now; `None` when it is gone.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let mappings = maps.iter().filter(|byte| **byte == b'\n').count() as u64;
    Some(Memory { mappings, ..parse_rollup(&rollup)? })
}

/// The most mappings that the kernel lets a process have.
pub(crate) fn mappings_max() -> Option<u64> {
    fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

fn parse_rollup(text: &str) -> Option<Memory> {
    const KIBI: u64 = 1_024;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * KIBI)
    };
    Some(Memory {
        rss_bytes: field("Rss")?,
        pss_bytes: field("Pss")?,
        lazy_free_bytes: field("LazyFree").unwrap_or(0),
        mappings: 0,
    })
}

fn all_stats() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

fn tree(stats: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// The name in parentheses may hold blanks and parentheses, so fields are counted after the last one.
fn parse(line: &str) -> Option<Stat> {
    const PARENT: usize = 1;
    const TICKS: usize = 11;
    const CHILD_TICKS: usize = 13;
    const RSS: usize = 21;
    let (_, after_name) = line.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(PARENT)?.parse().ok()?,
        ticks: number(TICKS)? + number(TICKS + 1)?,
        child_ticks: number(CHILD_TICKS)? + number(CHILD_TICKS + 1)?,
        rss_pages: number(RSS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_holds() {
        let line =
            "12 (a ) b) S 7 1 1 0 -1 4194304 100 0 0 0 10 20 3 4 20 0 1 0 100 1000 55 18446744073709551615";
        assert_eq!(parse(line), Some(Stat { parent: 7, ticks: 30, child_ticks: 7, rss_pages: 55 }));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn memory_is_read_from_the_rollup() {
        let text = "5500-7fff [rollup]\nRss:  8 kB\nPss:   4 kB\nPss_Dirty:   1 kB\nLazyFree:    2 kB\n";
        let expected = Memory { rss_bytes: 8_192, pss_bytes: 4_096, lazy_free_bytes: 2_048, mappings: 0 };
        assert_eq!(parse_rollup(text), Some(expected));
        assert_eq!(parse_rollup("garbage"), None);
        let own = memory(std::process::id()).unwrap();
        assert!(own.mappings > 5 && own.rss_bytes > 100_000, "{own:?}");
    }

    #[test]
    fn a_tree_holds_the_children_of_children() {
        let stat = |parent| Stat { parent, ticks: 0, child_ticks: 0, rss_pages: 0 };
        let stats = HashMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(0))]);
        let mut found = tree(&stats, 1);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
    }

    #[test]
    fn the_own_process_uses_memory_and_lives() {
        let own = std::process::id();
        assert!(usage(own).rss_bytes > 100_000);
        assert!(usage_of(&members(own)).rss_bytes > 100_000);
        assert!(files_max(own).is_none_or(|files| files > 8));
        assert!(is_alive(own));
        assert!(!is_alive(u32::MAX - 1));
    }
}
