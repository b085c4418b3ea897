//! Tools as functions see them: what there is, how it is called, what came back.
//!
//! [`wire`] has the shapes by which the chat function asks the tools function; [`definition`] those by which the host tells
//! the tools function what a tenant's registry holds.

pub mod definition;
pub mod wire;
