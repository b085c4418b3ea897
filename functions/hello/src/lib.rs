//! The smallest function: it answers hello.
