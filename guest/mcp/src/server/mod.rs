//! `POST /mcp`: one JSON-RPC message in, one answer out, no state between two of them.
//!
//! A request of 2026-07-28 says for itself what it speaks. A client of 2025-11-25 or 2025-06-18 shakes hands first, and
//! gets no session: any replica answers its next request. What is served comes from three traits; the shell hands a head
//! and a body to [`Server::handle`] and sends what comes back.

mod admit;
mod answer;
mod dispatch;
mod prompts;
mod shape;
mod stream;
mod written;

pub use answer::Answer;
pub use prompts::{PromptSet, PromptSetError};
pub use shape::{
    Contents, Page, PromptArgument, PromptMessage, PromptText, ServedPrompt, ServedResource, ServedResult,
    ServedTemplate, ServedTool,
};
pub use stream::StreamedCall;

use crate::progress::Progress;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::future::{Future, ready};

/// The longest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How many tools, resources or prompts one page lists.
pub const PAGE_ENTRIES: usize = 100;

/// What the server says of itself, and whom it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name, for people: `serverInfo.name`.
    pub name: String,
    /// Its version: `serverInfo.version`.
    pub version: String,
    /// What a model should know of it as a whole, if anything.
    pub instructions: Option<String>,
    /// The web origins (`https://host[:port]`) whose pages may call it. A request with another `Origin` is refused with
    /// 403: a page could otherwise aim a browser at it by DNS rebinding. Requests without one come from no page. `None`
    /// where somebody in front has looked already.
    pub origins: Option<Vec<String>>,
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// All header fields, in any case, as they came.
    pub headers: &'a [(String, Vec<u8>)],
}

/// Why what was asked for is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerFailure {
    /// There is nothing of that name; the text names it.
    #[error("{0}")]
    Unknown(String),
    /// The parameters are not as they have to be; the text says which and how.
    #[error("{0}")]
    Invalid(String),
    /// Not now; there may be room after so many seconds.
    #[error("busy; try again in {0} s")]
    Busy(u32),
    /// It failed. The text is for the client: it names nothing of the inside.
    #[error("{0}")]
    Failed(String),
}

/// A call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// As [`ServedTool::name`].
    pub name: &'a str,
    /// A JSON object that nobody has held against the tool's schema yet.
    pub arguments: &'a RawValue,
}

/// The tools that are served.
pub trait ServerTools {
    /// All of them, in any order; at most 1,024 are listed.
    ///
    /// # Errors
    /// They cannot be had.
    fn tools(&self) -> impl Future<Output = Result<Vec<ServedTool>, ServerFailure>>;

    /// Makes a call. It is dropped when the client goes away.
    ///
    /// # Errors
    /// [`ServerFailure::Unknown`] of a tool that is not there. What goes wrong in a tool that is there, its arguments
    /// included, is a [`ServedResult`] with `is_error`: models read results and mend their next call.
    fn call<P: Progress>(
        &self,
        call: ToolCall<'_>,
        progress: &mut P,
    ) -> impl Future<Output = Result<ServedResult, ServerFailure>>;
}

/// The resources that are served.
pub trait ServerResources {
    /// At most [`PAGE_ENTRIES`] of them: those after `cursor`, which an earlier page has given, or the first.
    ///
    /// # Errors
    /// [`ServerFailure::Invalid`] of a cursor that no page has given.
    fn resources(
        &self,
        cursor: Option<&str>,
    ) -> impl Future<Output = Result<Page<ServedResource>, ServerFailure>>;

    /// The kinds of address by which resources are read that are not listed.
    ///
    /// # Errors
    /// They cannot be had.
    fn templates(&self) -> impl Future<Output = Result<Vec<ServedTemplate>, ServerFailure>> {
        ready(Ok(Vec::new()))
    }

    /// What `uri` holds.
    ///
    /// # Errors
    /// [`ServerFailure::Unknown`] when there is no such resource.
    fn read(&self, uri: &str) -> impl Future<Output = Result<Vec<Contents>, ServerFailure>>;
}

/// The prompts that are served.
pub trait ServerPrompts {
    /// All of them, in any order; at most 1,024 are listed.
    ///
    /// # Errors
    /// They cannot be had.
    fn prompts(&self) -> impl Future<Output = Result<Vec<ServedPrompt>, ServerFailure>>;

    /// The prompt `name`, filled in.
    ///
    /// # Errors
    /// [`ServerFailure::Unknown`] when there is none of that name, [`ServerFailure::Invalid`] when an argument is missing.
    fn prompt(
        &self,
        name: &str,
        arguments: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<PromptText, ServerFailure>>;
}

/// The server, for one request.
#[derive(Debug)]
pub struct Server<T, R, P> {
    /// What it says of itself.
    pub settings: Settings,
    /// Its tools.
    pub tools: T,
    /// Its resources.
    pub resources: R,
    /// Its prompts.
    pub prompts: P,
}
