//! The OpenAI shapes the functions speak: requests, responses, items, events, errors.
//!
//! Plain data and pure functions; it never does I/O. The types are our own and lean: a function parses a request
//! body once, keeps stored items as raw JSON, and writes each answer once.

pub mod chat;
pub mod compact;
pub mod conversation;
pub mod digits;
pub mod embedding;
pub mod error;
pub mod event;
pub mod file_search;
pub mod handover;
pub mod id;
pub mod include;
pub mod item;
pub mod json;
pub mod list;
pub mod mcp_tool;
pub mod members;
pub mod metadata;
pub mod object;
pub mod parameters;
pub mod percent;
pub mod request;
pub mod response;
pub mod session;
pub mod tool;
pub mod whole;

pub use digits::Digits;
pub use error::ApiError;
pub use id::{ConversationId, FileBatchId, FileId, ItemId, Nonce, ResponseId, VectorStoreId};
pub use whole::Whole;
