//! What a run of the agent may do, and its journal: policy and records, without a model and without a tool.
//!
//! A run is a turn in which the model calls tools that this server runs: the model is asked, what it calls is called, the
//! results are told to it, and so on until it answers. Each round is a step, numbered from 1. Whoever runs it asks this crate
//!
//! - how far it may go: [`budget::Budget`] by the bounds of [`caps::Caps`], [`repeats::Repeats`];
//! - what a model is told of the tools: [`offer::for_model`];
//! - what has been done already: [`journal::Journal`], written before and after each call of the model and of a tool, so that
//!   a run that was interrupted goes on where it was ([`recorded::Recorded`]);
//! - under which keys a call is made, the same at every attempt: [`key`].
//!
//! It never does I/O but by the store it is given.

pub mod arguments;
pub mod budget;
pub mod caps;
pub mod cost;
pub mod journal;
pub mod key;
pub mod offer;
pub mod recorded;
pub mod repeats;
