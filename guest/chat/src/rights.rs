//! Data rights: all that is one user's, exported or erased by one call, what other functions keep included.
//!
//! An export is a line of JSON for each object, and a receipt as its last line: without that, it is not whole. Never more
//! than one page of records is held. A receipt names the functions that did not answer.

mod elsewhere;

use crate::platform::{Gone, Platform, Sink};
use crate::problem::{Problem, internal};
use crate::reply::Reply;
use crate::service::{Answer, Service, Streaming, report};
use elsewhere::{Kind, Records};
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
    /// The list of what they own here; none for whom only other functions know.
    index: Option<Index>,
    nonce: Nonce,
}

/// How many lines there are of each kind.
#[derive(Debug, Default)]
struct Counts {
    conversations: u64,
    items: u64,
    responses: u64,
    files: u64,
    vector_stores: u64,
    tool_calls: u64,
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
    File {
        file: &'a RawValue,
        /// Where its bytes are to be had.
        content: String,
    },
    VectorStore {
        vector_store: &'a RawValue,
    },
    ToolCall {
        tool_call: &'a RawValue,
    },
    Receipt {
        object: &'static str,
        id: String,
        user: &'a str,
        conversations: u64,
        items: u64,
        responses: u64,
        files: u64,
        vector_stores: u64,
        tool_calls: u64,
        at: u64,
        sha256: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        incomplete: Vec<&'static str>,
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
    files: u64,
    vector_stores: u64,
    tool_calls: u64,
    at: u64,
    /// The functions of whose part it is not known that all of it is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<&'static str>,
}

impl ErasedJson<'_> {
    /// The line of the log: all but whose it was.
    fn line(&self) -> String {
        let Self { id, conversations, items, responses, files, vector_stores, tool_calls, .. } = self;
        let mut line = format!(
            "{id} conversations={conversations} items={items} responses={responses} files={files} \
             vector_stores={vector_stores} tool_calls={tool_calls}"
        );
        if !self.incomplete.is_empty() {
            line.push_str(" incomplete=");
            line.push_str(&self.incomplete.join(","));
        }
        line
    }
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
        // Conversations go first, and what is under way in them with them: it could call tools anew. Whoever asks again,
        // whatever has failed, asks all functions again.
        let here = erase(&self.store, &subject.owner()).await?;
        let there = elsewhere::erase(&self.platform, user).await;
        if here.is_none() && there.is_nothing() {
            return Err(user_not_found(user).into());
        }
        let here = here.unwrap_or_default();
        let receipt = ErasedJson {
            object: "user.data.deleted",
            id: format!("erasure_{}", self.nonce()),
            user,
            conversations: here.conversations,
            items: here.items,
            responses: here.responses,
            files: there.files,
            vector_stores: there.vector_stores,
            tool_calls: there.tool_calls,
            at: self.platform.now_ms() / 1000,
            incomplete: there.incomplete,
        };
        self.platform.log(&receipt.line());
        let mut out = Vec::with_capacity(512);
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

    async fn open_export(&self, caller: &Viewer, user: &str) -> Result<(Viewer, Option<Index>), Problem> {
        let subject = subject(caller, user)?;
        let index = Index::open(&self.store, &subject.owner()).await?;
        if index.is_none() && !elsewhere::may_know(&self.platform, user).await {
            return Err(user_not_found(user).into());
        }
        Ok((subject, index))
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
        let owner = self.user.owner();
        let user =
            owner.user().ok_or_else(|| Broken::Problem(internal("an export of nobody's".to_owned())))?;
        let mut counts = Counts::default();
        if let Some(index) = &self.index {
            self.write_own(index, lines, &mut counts).await?;
        }
        let incomplete = self.write_elsewhere(user, lines, &mut counts).await?;
        let Counts { conversations, items, responses, files, vector_stores, tool_calls } = counts;
        let receipt = Line::Receipt {
            object: "user.data.exported",
            id: format!("export_{}", self.nonce),
            user,
            conversations,
            items,
            responses,
            files,
            vector_stores,
            tool_calls,
            at: self.platform.now_ms() / 1000,
            sha256: lines.sha256(),
            incomplete,
        };
        lines.push(&receipt).await?;
        Ok(())
    }

    /// Writes what is kept here.
    async fn write_own<K: Sink>(
        &self,
        index: &Index,
        lines: &mut Lines<K>,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let mut exporter = Exporter::new(&self.store, &self.user, index);
        while let Some(page) = exporter.next_page().await? {
            for exported in page {
                match exported {
                    Exported::Conversation { nonce, record, summary } => {
                        counts.conversations += 1;
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
                            counts.items += 1;
                            let item: &RawValue = serde_json::from_str(item)?;
                            lines
                                .push(&Line::Item { conversation: ConversationId(conversation), item })
                                .await?;
                        }
                    }
                    Exported::Response { nonce, object, input } => {
                        counts.responses += 1;
                        let line = Line::Response { id: ResponseId(nonce), response: &object, input: &input };
                        lines.push(&line).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what other functions keep; the names of those that did not tell all of it.
    async fn write_elsewhere<K: Sink>(
        &self,
        user: &str,
        lines: &mut Lines<K>,
        counts: &mut Counts,
    ) -> Result<Vec<&'static str>, Broken> {
        let mut incomplete = Vec::new();
        for kind in Kind::ALL {
            let function = kind.function();
            if incomplete.contains(&function) {
                continue;
            }
            let mut records = Records::of(user, kind);
            loop {
                match records.next_page(&self.platform).await {
                    Ok(Some(page)) => {
                        for record in &page {
                            lines.push(&line_of(kind, record, counts)?).await?;
                        }
                    }
                    Ok(None) => break,
                    Err(_told) => {
                        incomplete.push(function);
                        break;
                    }
                }
            }
        }
        Ok(incomplete)
    }
}

/// The line of what another function keeps, counted.
fn line_of<'a>(kind: Kind, record: &'a RawValue, counts: &mut Counts) -> Result<Line<'a>, serde_json::Error> {
    Ok(match kind {
        Kind::File => {
            counts.files += 1;
            Line::File { file: record, content: elsewhere::content_path(record)? }
        }
        Kind::VectorStore => {
            counts.vector_stores += 1;
            Line::VectorStore { vector_store: record }
        }
        Kind::ToolCall => {
            counts.tool_calls += 1;
            Line::ToolCall { tool_call: record }
        }
    })
}
