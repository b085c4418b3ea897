//! How much of what people and models have said may wait in spans, so that a collector that is gone cannot fill the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes of one attribute with content.
pub const CONTENT_BYTES_MAX: usize = 16 << 10;
/// The most bytes of content in all spans that are not sent yet.
pub const CONTENT_WAITING_BYTES_MAX: usize = 32 << 20;

/// Bytes of content that are counted among those that wait, until this is dropped. A clone counts by the same total, and
/// has as many bytes of its own.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    /// Counts so many bytes more, unless they would be too many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let more = |waiting: usize| {
            waiting.checked_add(bytes).filter(|waiting| *waiting <= CONTENT_WAITING_BYTES_MAX)
        };
        let is_taken = self.waiting.fetch_update(Relaxed, Relaxed, more).is_ok();
        self.bytes += if is_taken { bytes } else { 0 };
        is_taken
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.waiting.fetch_add(self.bytes, Relaxed);
        Self { waiting: Arc::clone(&self.waiting), bytes: self.bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Relaxed);
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_a_bound_and_makes_room_when_it_is_gone() {
        let all = Held::default();
        let (mut one, mut other) = (all.clone(), all.clone());
        assert!(one.take(CONTENT_WAITING_BYTES_MAX - 10));
        assert!(!other.take(11) && other.take(10) && !other.take(1));
        let copy = other.clone();
        assert_eq!(all.waiting.load(Relaxed), CONTENT_WAITING_BYTES_MAX + 10);
        drop((one, copy));
        assert!(other.take(1));
        drop(other);
        assert_eq!(all.waiting.load(Relaxed), 0);
    }
}
