//! Turns whose model calls tools that this server runs: it is asked, what it calls is called, what comes of that is told to
//! it, and so on until it answers.
//!
//! `select.rs` finds the tools of a turn, by a call of the tools function, `question.rs` the decisions on calls that a person
//! was asked about; together they make a [`Run`] (`run.rs`) of it, with what its model is asked (`prompt.rs`). The loop itself
//! is a part of a turn's stream (`stream/act.rs`), also where the answer is not streamed; `acting.rs` is what it knows of
//! itself, `call.rs` one call of a tool. How far a run may go, and its journal, are `waggle-agent`'s. Without tools nothing
//! of this is reached but one variable.

mod acting;
mod call;
mod failure;
mod prompt;
mod question;
mod run;
mod select;
mod settings;
mod side_by_side;
mod toolbox;
mod upstream;

pub(crate) use acting::{Acting, Answer, Job, Unbegun, Verdict};
pub(crate) use call::{make, not_made, outcome, outcome_unknown};
pub(crate) use prompt::Prompt;
pub(crate) use question::Decision;
pub(crate) use run::{Keeping, Run, Tools};
pub(crate) use side_by_side::SideBySide;
pub(crate) use toolbox::{Approved, Pending, ToolCall, Toolbox};
pub(crate) use upstream::AnyUpstream;
