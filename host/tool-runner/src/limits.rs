//! The memory and the tables of one call's instance, as wasmtime asks for them.

use wasmtime::ResourceLimiter;

/// Linear memories one instance may have. Each takes the room of a whole one in the address space.
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Tables one instance may have.
pub(crate) const TABLES_MAX: u32 = 8;
/// Core instances one component may be made of. Python's is made of some twenty.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;

/// Refuses growth over the bounds. A guest sees `memory.grow` fail with -1; most then abort, which ends in a trap.
pub(crate) struct MemoryLimits {
    bytes_max: usize,
    table_elements_max: usize,
    /// Of all its memories together.
    taken_bytes: usize,
    /// Whether growth was refused, so that the trap that follows can be explained.
    refused: bool,
}

impl MemoryLimits {
    pub(crate) fn new(bytes_max: usize, table_elements_max: usize) -> Self {
        Self { bytes_max, table_elements_max, taken_bytes: 0, refused: false }
    }

    /// Bytes of all its memories. They never shrink.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken_bytes
    }

    /// What all of them may be together.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether it was refused memory.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let taken = self.taken_bytes.saturating_add(desired.saturating_sub(current));
        if taken > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.taken_bytes = taken;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table_elements_max && maximum.is_none_or(|most| desired <= most);
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_stay_within_the_bound() {
        let mut limits = MemoryLimits::new(100, 10);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(!limits.memory_growing(0, 30, Some(20)).unwrap(), "its own maximum is lower");
        assert!(!limits.has_refused(), "which is not this bound");
        assert!(!limits.memory_growing(0, 41, None).unwrap(), "a second memory");
        assert!(limits.has_refused());
        assert!(limits.memory_growing(60, 100, None).unwrap(), "what is left is left");
        assert_eq!(limits.taken_bytes(), 100);
    }
}
