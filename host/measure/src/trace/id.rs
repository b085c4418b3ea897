//! The ids of traces and spans: random, never zero, written as lower-case hexadecimal digits.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::num::{NonZeroU64, NonZeroU128};

/// The id of a trace: all spans of one request, in all processes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// The id of a span within its trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        let number = (u128::from(random()) << 64) | u128::from(random());
        Self(NonZeroU128::new(number).unwrap_or(NonZeroU128::MIN))
    }

    pub(super) fn new(number: u128) -> Option<Self> {
        NonZeroU128::new(number).map(Self)
    }

    /// The id as OTLP carries it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// The half by which it is decided whether a trace is recorded.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub(super) fn lower_half(self) -> u64 {
        self.0.get() as u64
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The id as OTLP carries it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

thread_local! {
    static STATE: Cell<(u64, u64)> = Cell::new(seed());
}

/// Random keys of the standard library, which come from the operating system.
fn seed() -> (u64, u64) {
    let key = || RandomState::new().build_hasher().finish();
    // Two zeros would stay zeros for ever.
    (key() | 1, key())
}

/// The next number of xoroshiro128++ (Blackman and Vigna, 2019). Ids must not meet each other; they need not be secret.
fn random() -> u64 {
    STATE.with(|state| {
        let (first, second) = state.get();
        let number = first.wrapping_add(second).rotate_left(17).wrapping_add(first);
        let mixed = first ^ second;
        state.set((first.rotate_left(49) ^ mixed ^ (mixed << 21), mixed.rotate_left(28)));
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_do_not_meet_though_threads_draw_them_side_by_side() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..10_000).map(|_| SpanId::random()).collect::<Vec<_>>()))
            .collect();
        let ids: HashSet<SpanId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 40_000);
    }

    #[test]
    fn about_half_of_all_bits_are_set() {
        let bits: u32 = (0..1_000).map(|_| TraceId::random().0.get().count_ones()).sum();
        assert!((62_000..66_000).contains(&bits), "{bits}");
    }

    #[test]
    fn an_id_is_written_with_all_its_digits() {
        assert_eq!(TraceId::new(0xab).unwrap().to_string(), format!("{}ab", "0".repeat(30)));
        assert_eq!(SpanId::new(0xab).unwrap().to_string(), "00000000000000ab");
        assert_eq!((TraceId::new(0), SpanId::new(0)), (None, None));
    }
}
