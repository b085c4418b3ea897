//! What every function is written against besides its store and its models: the traits of its surroundings
//! ([`Platform`], [`Sink`]), the head of a request ([`Request`]) and a whole answer ([`Reply`]). Never does I/O: what
//! WASI has to do with it is `guest/wasi`.

mod neighbour;
mod platform;
mod reply;
mod request;
mod sink;
mod work;

pub use neighbour::{NeighbourAnswer, NeighbourCall, NeighbourMethod};
pub use platform::{Platform, QueueFailure, TokenCount};
pub use reply::{INSUFFICIENT_QUOTA, Reply, STREAM_HEADERS};
pub use request::{Delivery, Request, USER_FIELD, read_json};
pub use sink::{Gone, Sink, Stopped};
pub use work::Work;
