//! What a model is asked and what it answers, for the traces of tenants that want it there: as OpenTelemetry's conventions
//! for generative AI (v1.41) write it, redacted, and within bounds. Nothing of it is called for other tenants, nor where the
//! call is not recorded.

mod heard;
mod messages;
mod redact;

pub(crate) use heard::{Listened, Listener};
pub(crate) use messages::asked;
