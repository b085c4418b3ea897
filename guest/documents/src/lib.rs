//! Documents to chunks: what a file really is ([`detect`]), its text by blocks ([`extract`]), pieces of it that can be
//! indexed ([`chunk`]).
//!
//! Pure: no store, no network, no clock. What is read was uploaded by somebody, so nothing here trusts a length, an offset or
//! a depth that a file tells: each loop ends by a bound of [`Bounds`] or by the length of what it reads, and whatever is
//! inflated is inflated into a budget. A file that cannot be read is an [`ExtractError`] that says to its owner what is wrong
//! with it; it is never a panic, since that would end the instance and whatever else it serves.

mod bounds;
pub mod chunk;
mod code;
mod comma;
pub mod detect;
mod document;
mod docx;
mod encoding;
mod error;
mod extract;
mod grid;
mod hash;
mod html;
mod inflate;
mod json;
mod markdown;
mod pdf;
mod plain;
mod record;
pub mod script;
pub mod sentence;
mod stem;
pub mod words;
mod zip;

pub use bounds::Bounds;
pub use chunk::{Chunk, ChunkError, ChunkRules, chunk};
pub use detect::{Hints, Kind, detect};
pub use document::{BLOCK_SEPARATOR, Block, BlockKind, Document};
pub use error::ExtractError;
pub use extract::extract;
