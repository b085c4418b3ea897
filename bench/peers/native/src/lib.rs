//! The native Rust peer.
