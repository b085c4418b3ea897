//! Data rights: all that is one user's, exported or erased by one call.
//!
//! An export is a line of JSON for each object, and a receipt as its last line: without that, it is not whole. Never more
//! than one page of records is held.

use crate::platform::{Gone, Platform, Sink};
use crate::problem::{Problem, internal};
use crate::reply::Reply;
use crate::service::{Answer, Service, Streaming, report};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use waggle_conversation::erase::erase;
use waggle_conversation::export::{Exported, Exporter};
use waggle_conversation::owned::Index;
use waggle_conversation::{Store, StoreError, Viewer, hex};
use waggle_model::transport::Upstream;
use waggle_openai::item::RawItem;
use waggle_openai::{ApiError, ConversationId, Nonce, ResponseId, json};

/// The headers of an export.
pub(crate) const EXPORT_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/x-ndjson"), ("cache-control", "no-store")];
/// How many bytes of lines are collected before they are handed on.
const WRITE_BYTES: usize = 16 << 10;

/// All that is a user's, on its way out.
#[derive(Debug)]
pub struct Export<S, P> {
    store: S,
    platform: P,
    user: Viewer,
    index: Index,
    nonce: Nonce,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Conversation {
        id: ConversationId,
        session: bool,
        created_at: u64,
        used_at: u64,
        metadata: &'a RawValue,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pinned: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
    Item {
        conversation: ConversationId,
        item: &'a RawValue,
    },
    Response {
        id: ResponseId,
        response: &'a RawValue,
        input: &'a [RawItem],
    },
    Receipt {
        object: &'static str,
        id: String,
        user: &'a str,
        conversations: u64,
        items: u64,
        responses: u64,
        at: u64,
        sha256: String,
    },
    Error {
        code: &'static str,
        message: &'a str,
    },
}

#[derive(Serialize)]
struct ErasedJson<'a> {
    object: &'static str,
    id: String,
    user: &'a str,
    conversations: u64,
    items: u64,
    responses: u64,
    at: u64,
}

fn user_not_found(user: &str) -> ApiError {
    ApiError::not_found("User", user)
}

/// The user whose data it is about, when the caller may ask for it: a service for everybody's, a user for their own.
fn subject(caller: &Viewer, user: &str) -> Result<Viewer, ApiError> {
    let unknown = || user_not_found(user);
    let subject = Viewer::user(user).ok_or_else(unknown)?;
    if caller.is_service() || *caller == subject { Ok(subject) } else { Err(unknown()) }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn erase_user(&self, caller: &Viewer, user: &str) -> Result<Reply, Problem> {
        let subject = subject(caller, user)?;
        let erased = erase(&self.store, &subject.owner()).await?.ok_or_else(|| user_not_found(user))?;
        let id = format!("erasure_{}", self.nonce());
        let (conversations, items, responses) = (erased.conversations, erased.items, erased.responses);
        self.platform.log(&format!("{id} conversations={conversations} items={items} responses={responses}"));
        let at = self.platform.now_ms() / 1000;
        let receipt =
            ErasedJson { object: "user.data.deleted", id, user, conversations, items, responses, at };
        let mut out = Vec::with_capacity(256);
        json::push(&mut out, &receipt);
        Ok(Reply::json(out))
    }

    pub(crate) async fn export_user(self, caller: &Viewer, user: &str) -> Answer<S, P, U::Body> {
        match self.open_export(caller, user).await {
            Ok((user, index)) => {
                let nonce = self.nonce();
                let Self { store, platform, .. } = self;
                Answer::Stream(Streaming::Export(Box::new(Export { store, platform, user, index, nonce })))
            }
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    async fn open_export(&self, caller: &Viewer, user: &str) -> Result<(Viewer, Index), Problem> {
        let subject = subject(caller, user)?;
        let index = Index::open(&self.store, &subject.owner()).await?;
        Ok((subject, index.ok_or_else(|| user_not_found(user))?))
    }
}

/// The lines as they are handed on, counted and hashed.
struct Lines<K> {
    sink: K,
    buffer: Vec<u8>,
    hash: Sha256,
}

impl<K: Sink> Lines<K> {
    async fn push(&mut self, line: &Line<'_>) -> Result<(), Gone> {
        let start = self.buffer.len();
        json::push(&mut self.buffer, line);
        // A raw value may hold line breaks, which in JSON can only be white space.
        for byte in self.buffer.iter_mut().skip(start) {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.buffer.push(b'\n');
        self.hash.update(self.buffer.get(start..).unwrap_or_default());
        if self.buffer.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.sink.write(std::mem::take(&mut self.buffer)).await
    }

    /// The hash of all lines so far, in hexadecimal.
    fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

/// Why an export ended early.
enum Broken {
    Gone,
    Problem(Problem),
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<serde_json::Error> for Broken {
    fn from(error: serde_json::Error) -> Self {
        Self::Problem(error.into())
    }
}

impl<S: Store, P: Platform> Export<S, P> {
    /// Produces all lines. A failure is the last line in the receipt's place.
    pub(crate) async fn run<K: Sink>(self, sink: K) {
        let mut lines = Lines { sink, buffer: Vec::with_capacity(WRITE_BYTES), hash: Sha256::new() };
        let ended = self.write(&mut lines).await;
        if let Err(Broken::Problem(problem)) = ended {
            let _reply = report(&self.platform, &problem);
            let error = Line::Error {
                code: problem.error.code.unwrap_or("server_error"),
                message: &problem.error.message,
            };
            let _gone = lines.push(&error).await;
        }
        let _gone = lines.flush().await;
    }

    async fn write<K: Sink>(&self, lines: &mut Lines<K>) -> Result<(), Broken> {
        let (mut conversations, mut items, mut responses) = (0, 0, 0);
        let mut exporter = Exporter::new(&self.store, &self.user, &self.index);
        while let Some(page) = exporter.next_page().await? {
            for exported in page {
                match exported {
                    Exported::Conversation { nonce, record, summary } => {
                        conversations += 1;
                        let line = Line::Conversation {
                            id: ConversationId(nonce),
                            session: record.session,
                            created_at: record.created_at,
                            used_at: record.used_at,
                            metadata: &record.metadata,
                            pinned: record.pinned.iter().map(|pin| &*pin.id).collect(),
                            summary,
                        };
                        lines.push(&line).await?;
                    }
                    Exported::Entry { conversation, turn } => {
                        for item in turn.items() {
                            items += 1;
                            let item: &RawValue = serde_json::from_str(item)?;
                            lines
                                .push(&Line::Item { conversation: ConversationId(conversation), item })
                                .await?;
                        }
                    }
                    Exported::Response { nonce, object, input } => {
                        responses += 1;
                        let line = Line::Response { id: ResponseId(nonce), response: &object, input: &input };
                        lines.push(&line).await?;
                    }
                }
            }
        }
        let owner = self.user.owner();
        let user =
            owner.user().ok_or_else(|| Broken::Problem(internal("an export of nobody's".to_owned())))?;
        let receipt = Line::Receipt {
            object: "user.data.exported",
            id: format!("export_{}", self.nonce),
            user,
            conversations,
            items,
            responses,
            at: self.platform.now_ms() / 1000,
            sha256: lines.sha256(),
        };
        lines.push(&receipt).await?;
        Ok(())
    }
}
