//! Logs: what the operator reads.
