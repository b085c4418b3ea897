//! Spans: what a request did, as a tree, over the borders of processes.
//!
//! A [`Tracer`] begins the first [`Span`] of a request, continuing the caller's trace if there is one ([`SpanContext`], W3C
//! Trace Context). Each span begins its children, through itself or through a [`Parent`], which can be kept and cloned.
//! A span that ends goes to the [`SpanSink`]; where nothing is recorded, all of this is a test for it, and the context is
//! passed on.
//!
//! What a span says is in [`attribute`]. It never holds a secret, nor what a conversation says, unless
//! whose it is wants that ([`Span::set_content`]).

pub mod attribute;
mod content;
mod context;
mod id;
mod span;
mod state;
mod tracer;

pub use content::{CONTENT_BYTES_MAX, CONTENT_WAITING_BYTES_MAX, Held};
pub use context::{SpanContext, TRACEPARENT_BYTES, Traceparent};
pub use id::{SpanId, TraceId};
pub use span::{ATTRIBUTES_MAX, EVENTS_MAX, Event, FinishedSpan, Span, SpanKind, TEXT_BYTES_MAX, Value};
pub use state::TRACESTATE_BYTES_MAX;
pub use tracer::{Parent, Sampling, SpanSink, Tracer};
