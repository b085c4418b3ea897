//! The bounds of one instance's memory and tables, as wasmtime asks for them.

use wasmtime::ResourceLimiter;

/// Refuses growth over the bounds. A guest sees `memory.grow` fail with -1; Rust guests then abort, which ends in a
/// trap of that instance only.
#[derive(Debug)]
pub(crate) struct InstanceLimits {
    pub(crate) memory_bytes_max: usize,
    pub(crate) table_elements_max: usize,
    /// Set once growth was refused, so that the trap that follows can be explained.
    pub(crate) refused: Option<String>,
}

/// Core instances, memories and tables in one component instance: composed components have a few of each.
const PARTS_MAX: usize = 64;

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_bytes_max && maximum.is_none_or(|most| desired <= most);
        if !allowed {
            self.refused = Some(format!(
                "it asked for {desired} bytes of memory, more than the {} allowed",
                self.memory_bytes_max
            ));
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table_elements_max && maximum.is_none_or(|most| desired <= most);
        if !allowed {
            self.refused = Some(format!(
                "it asked for a table of {desired} elements, more than the {} allowed",
                self.table_elements_max
            ));
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
