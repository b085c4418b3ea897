//! A simulated model endpoint that speaks the OpenAI API: for the demo, the tests and the load generator. It
//! never calls a real model.
//!
//! It answers `POST /v1/chat/completions` and `POST /v1/responses`, plain and streamed, `POST /v1/embeddings`,
//! `POST /v1/rerank`, `GET /v1/models` and `GET /v1/models/{id}`. An embedding is a unit vector that depends on its input
//! alone; inputs that have words in common have vectors that are alike, and documents are reranked by these. Answers are
//! a function of the request:
//!
//! - `You said: <last user text>`;
//! - asked `what is my name` (or `我叫什么`), it looks through the messages for `my name is X` (`我叫X`);
//! - told `call tool NAME {json}`, it calls that tool; told a tool's result, it says `The tool said: <result>`;
//! - told `answer {json}`, it answers that JSON;
//! - scripted by `[sim: call NAME {json}; call …]`, it calls tools step by step (`script.rs`);
//! - as the persona `shop`, it serves the customers of a shop (`shop.rs`).
//!
//! How a request is treated (delays, length, errors, faults) is a [`Behaviour`]: from the configuration, from
//! `x-sim-*` headers, from a `[sim: key=value ...]` directive in the instructions or the first message if it is the system's,
//! and from one in the last user message.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! let model = model_sim::start(model_sim::SimConfig::default()).await?;
//! println!("set OPENAI_BASE_URL={}/v1", model.url());
//! # Ok(()) }
//! ```

mod answer;
mod behaviour;
mod body;
mod config;
mod embedding;
mod io;
mod meaning;
mod request;
mod rerank;
mod script;
mod server;
mod service;
mod shop;
mod stats;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use behaviour::{Behaviour, BehaviourError, DELAY_MS_MAX, Fault, KEYS, Persona};
pub use config::SimConfig;
#[cfg(feature = "tls")]
pub use server::start_tls;
pub use server::{Running, Simulator, serve, start};
pub use stats::{Handle, KeyedRequests, Outcome, RecordedRequest, Stats};
#[cfg(feature = "tls")]
pub use tls::TlsIdentity;
