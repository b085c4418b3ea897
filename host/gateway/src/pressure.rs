//! Whether the process uses more memory than it should, looked at now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use waggle_engine::Engine;

/// How often the memory in use is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Idle instances told to end at each look while memory is short.
const INSTANCES_GIVEN_UP: usize = 64;

/// The watermark of the host's memory.
#[derive(Default)]
pub(crate) struct MemoryPressure(AtomicBool);

impl MemoryPressure {
    /// Watches the resident memory of the process against `bytes_max` for as long as the returned value lives. While it
    /// is over it, idle instances of `engine` are told to end.
    pub(crate) fn watch(bytes_max: Option<u64>, engine: &Engine) -> Arc<Self> {
        let pressure = Arc::new(Self::default());
        if let Some(bytes_max) = bytes_max {
            let (weak, engine) = (Arc::downgrade(&pressure), engine.clone());
            tokio::spawn(async move {
                while let Some(pressure) = weak.upgrade() {
                    let over = resident_bytes().is_some_and(|bytes| bytes > bytes_max);
                    if pressure.0.swap(over, Relaxed) != over {
                        tracing::warn!(over, bytes_max, "memory watermark");
                    }
                    if over {
                        engine.give_up_idle(INSTANCES_GIVEN_UP);
                    }
                    drop(pressure);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
        }
        pressure
    }

    /// Whether requests must be refused for want of memory.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The resident memory of this process, from `/proc/self/status`; none where there is no such file.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_in_use_is_known() {
        let bytes = resident_bytes().unwrap();
        assert!(bytes > 1 << 20, "{bytes}");
    }
}
