//! Calling others' servers: find out what they speak, list their tools, call one.
//!
//! Everything a server sends is bounded and checked before it is believed: it may lie about its schemas, answer another
//! question than was asked, redirect, or never end. Nothing of a caller's credentials goes along; what the server wants of
//! ours, the host puts on.

mod call;
mod content;
mod failure;
mod listing;
mod read;
mod session;

pub use call::{CallOutcome, RemoteCall};
pub use failure::ClientFailure;
pub use listing::{Listing, RemoteTool};
pub use session::Remembered;

use crate::fetch::Fetch;
use std::cell::Cell;
use std::rc::Rc;

/// How much of a server is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long to wait for the first byte of an answer, and between any two, in milliseconds.
    pub timeout_ms: u64,
    /// The longest answer to one request, all its events counted, in bytes.
    pub answer_bytes_max: usize,
    /// The most events of one answer.
    pub events_max: usize,
    /// The most pages of a list.
    pub pages_max: usize,
    /// The most tools of a list.
    pub tools_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            answer_bytes_max: 1 << 20,
            events_max: 1_000,
            pages_max: 32,
            tools_max: 512,
        }
    }
}

/// A client of one server.
#[derive(Debug)]
pub struct Client<F> {
    fetch: F,
    url: String,
    headers: Vec<(String, String)>,
    bounds: Bounds,
    session: Option<Remembered>,
    /// The number of the last request of this session, whoever has made it: a server of a session tells requests that run
    /// at once apart by nothing else.
    numbers: Rc<Cell<u64>>,
    /// The number of the last request of this client.
    asked: u64,
}

impl<F: Fetch> Client<F> {
    /// A client of the server at `url`. Nothing is sent yet.
    pub fn new(fetch: F, url: impl Into<String>) -> Self {
        Self {
            fetch,
            url: url.into(),
            headers: Vec::new(),
            bounds: Bounds::default(),
            session: None,
            numbers: Rc::default(),
            asked: 0,
        }
    }

    /// With these header fields on every request, names in lower case.
    #[must_use]
    pub fn with_headers(self, headers: Vec<(String, String)>) -> Self {
        Self { headers, ..self }
    }

    /// Within these bounds.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Going on with what an earlier client of the same server has learnt: nothing is asked that is known already. Several
    /// may do so at once.
    #[must_use]
    pub fn with_session(self, session: Option<Remembered>) -> Self {
        let numbers = session.as_ref().map_or_else(Rc::default, |session| Rc::clone(&session.numbers));
        Self { session, numbers, ..self }
    }

    /// What is known of the server now, for the next client of it.
    pub fn session(&self) -> Option<&Remembered> {
        self.session.as_ref()
    }
}
