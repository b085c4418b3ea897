//! Wasmtime: compile, cache, instantiate, pool, limit. Knows components, not HTTP routes.
