//! Work that functions hand to the host, to be done later by a call of themselves: kept durably, delivered in turn,
//! and again if it fails.
//!
//! [`Queue`] takes work and has it delivered. [`WorkStore`] is where it is kept, and the seam at which another broker
//! can stand; [`KeyedWork`] is the one there is, over any store with an atomic swap ([`WorkKeys`]). [`Deliver`] makes
//! the call. What decides (`schedule`, `record`) is pure, with time passed in.
//!
//! Work that was taken is delivered at least once, unless all its attempts are used up: a delivery whose outcome was
//! lost in a crash is made again. In memory are ids only, never bodies.

mod clock;
mod config;
mod keyed;
mod queue;
mod record;
mod schedule;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod work;

pub use clock::Clock;
pub use config::WorkConfig;
pub use keyed::{KeyedWork, Listing, WorkKeys};
pub use queue::{Deliver, Delivery, EnqueueError, Failure, Queue, Standing, WeakQueue, WorkMetrics};
pub use store::{Added, Claim, Claimed, Held, Listed, Pending, Settle, StoreFailure, Terms, WorkStore};
pub use work::{BODY_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, PATH_BYTES_MAX, Work, WorkId, WorkMistake};
