//! How many tokens a model counts in a text, by the encodings of OpenAI's models.
//!
//! It knows neither tenants nor functions, and what a text says goes nowhere from here. Counting takes time in proportion
//! to the text, whatever it says, and what one call counts is bounded: [`COUNTED_BYTES_MAX`].

mod count;
mod encoding;
mod vocabulary;

pub use count::{COUNTED_BYTES_MAX, Counted, count, estimate};
pub use encoding::{Encoding, UnknownEncoding};
