//! Wasmtime: compile, cache, instantiate, pool, limit. Knows components, not HTTP routes.
//!
//! [`Engine::load`] compiles a function's component (or takes it from the cache), [`Engine::handle`] answers one
//! request with an instance that belongs to the request's tenant. What an instance can reach is its
//! [`FunctionWorld`], made by the host before the instance exists.

mod account;
mod bindings;
mod clock;
mod config;
mod cpu;
mod engine;
mod error;
mod failures;
mod fairness;
mod internal;
mod key_stream;
mod key_value;
mod lanes;
mod limits;
mod linker;
mod load;
mod metrics;
mod outbound;
mod pool;
mod pools;
mod request;
mod state;
mod stdio;
mod store_span;
mod tenant_use;
mod tokenizer;
mod variables;
mod vector;
mod whole;
mod worker;
mod world;

pub use account::TenantBounds;
pub use config::EngineConfig;
pub use engine::{Engine, WorldSource, compilation};
pub use error::{HandleError, Limit, LimitOwner, LoadError};
pub use internal::{InternalCalls, InternalTarget, internal_target};
pub use lanes::ConnectionLane;
pub use load::compile_cached;
pub use metrics::{EndingKind, FunctionMetrics};
pub use outbound::{ToolSend, carry as carry_trace, send_on_terms, to_wasi as egress_error};
pub use request::{Admission, CallContext, CallerFields};
pub use stdio::PrintStream;
pub use tenant_use::{MemoryUse, TenantUse, TenantWork};
pub use wasmtime_wasi_http::{Error as BodyError, WasiBody};
pub use world::{
    FunctionWorld, InstanceBounds, LogSink, LogStream, LogWriter, ModelCallContext, ModelCalls,
    OutboundDecision, OutboundPolicy, StoreHandle, TokenCount, TokenCounts, TokenSink, ToolCallContext,
    ToolCalls, ToolRefusal, ToolTerms, WorkCalls,
};
