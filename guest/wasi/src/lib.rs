//! What the functions have of WASI, behind the traits that their libraries are written against: requests and answers, the
//! store, the model endpoint, variables, clock, log and queue. A shell without logic, the same for every function.
//!
//! It takes WASI's own types instead of `#[http_service]`'s, which would copy every header of a request twice. It compiles
//! for the machine too, where nothing of it can be called.

/// Of the functions: an instance serves many requests, on one thread.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

mod body;
mod client;
#[cfg(feature = "fetch")]
mod fetch;
mod fields;
mod function;
mod incoming;
#[cfg(feature = "index")]
mod index;
mod neighbour;
mod outgoing;
mod platform;
mod store;
mod tokenizer;
mod upstream;
mod work;

#[doc(hidden)]
pub use spin_sdk::wasip3::exports::http::handler;
#[doc(hidden)]
pub use spin_sdk::wasip3::http::service::export as export_service;

pub use body::WasiBody;
#[cfg(feature = "fetch")]
pub use fetch::WasiFetch;
#[doc(hidden)]
pub use function::bindings as whole_handler;
pub use function::{Function, Outgoing, serve};
pub use incoming::{Head, Incoming};
#[cfg(feature = "index")]
pub use index::WasiIndex;
pub use outgoing::WasiSink;
pub use platform::WasiPlatform;
pub use store::WasiStore;
pub use upstream::WasiUpstream;
