//! End to end: the real program, real sockets, real clients. One module per subject; `support` starts the program.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod agent_crash;
mod api_description;
mod background;
mod bad_input;
mod chat;
mod chatwoot;
mod conversation_order;
mod crash;
mod example_tool;
mod hammer;
mod hostile;
mod hostile_calls;
mod inner_calls;
mod intents;
mod kb;
mod long_conversations;
mod models;
mod neighbours;
mod operations;
mod portability;
mod portable_answers;
mod receiver;
mod responses_upstream;
mod retrieval;
mod retrieval_crash;
mod retrieval_support;
mod retrieval_tenants;
// The files that their reader is tested with.
#[path = "../../guest/documents/tests/support/mod.rs"]
mod samples;
mod sessions;
mod shop;
mod spin;
mod start;
mod streaming;
mod support;
mod tenants_admin;
mod tenants_confined;
mod tenants_file;
mod tenants_limits;
mod tenants_matrix;
mod tenants_secrets;
mod tenants_shared;
mod tenants_support;
mod tenants_tokens;
mod tokens;
mod tool_attacks;
mod tools_host;
mod user_data;
mod vector;
mod vector_hostile;
mod websocket;
mod whole;
mod work;
