//! The registry over a store in memory.
