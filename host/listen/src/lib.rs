//! What every listener of the host does alike: it takes connections up to a bound, outlives a want of file handles, and at
//! the stop lets what is under way finish. It never looks into a request, but for the name a request calls the server by.
//!
//! [`serve`] gives each [`Connection`] to its caller, who runs it in a task of its own, by [`Connection::serve_http1`] or
//! in another way under its watcher. What comes once for each request costs
//! nothing here: no lock, no allocation, no dynamic dispatch.

mod accept;
mod connection;
mod loopback;

pub use accept::{Bounds, Drained, serve};
pub use connection::{Connection, HeadBounds, Place};
pub use loopback::{called_name, is_loopback, is_loopback_name};
