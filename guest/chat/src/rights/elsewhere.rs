//! What other functions of the application keep of a user: files, vector stores, and the calls in the tools' audit log.
//! It is listed and erased by their own routes, which hold the caller to the same rule: a service asks for anybody, a
//! user for themself.

use crate::platform::{NeighbourAnswer, NeighbourCall, Platform};
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_model::transport::TransportFailure;
use waggle_openai::percent;
use waggle_tool::wire::FUNCTION as TOOLS;

/// The function that keeps files and vector stores.
const RETRIEVAL: &str = "retrieval";
/// How long an answer may take, in milliseconds: one call erases 500 files.
const TIMEOUT_MS: u64 = 60_000;
/// How often a function is asked to erase what there is more of.
const ERASURE_ROUNDS_MAX: usize = 20;
/// How many records a page has.
const PAGE_RECORDS_MAX: usize = 100;
/// How many pages of one kind are read.
const PAGES_MAX: usize = 10_000;

/// Why a function did not tell, or do, all of it. The log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The application has no such function, or this one may not call it.
    Absent,
    /// It failed.
    Failed,
}

/// What is kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    VectorStore,
    ToolCall,
}

impl Kind {
    /// All there are.
    pub(super) const ALL: [Self; 3] = [Self::File, Self::VectorStore, Self::ToolCall];

    /// Who keeps it.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::File | Self::VectorStore => RETRIEVAL,
            Self::ToolCall => TOOLS,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::File => "/v1/files",
            Self::VectorStore => "/v1/vector_stores",
            Self::ToolCall => "/v1/tools/audit",
        }
    }
}

/// The body of an answer. What the log is told names no user, as the bodies of refusals do.
fn body_of<P: Platform>(
    platform: &P,
    function: &str,
    answer: Result<NeighbourAnswer, TransportFailure>,
) -> Result<Vec<u8>, Unanswered> {
    match answer {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => {
            platform.log(&format!("a user's data in '{function}': it answered {}", answer.status));
            Err(Unanswered::Failed)
        }
        Err(failure) => {
            platform.log(&format!("a user's data in '{function}': {failure}"));
            let is_absent = matches!(failure, TransportFailure::Denied(_));
            Err(if is_absent { Unanswered::Absent } else { Unanswered::Failed })
        }
    }
}

fn unreadable<P: Platform>(platform: &P, function: &str, reason: &str) -> Unanswered {
    platform.log(&format!("a user's data in '{function}': its answer cannot be read: {reason}"));
    Unanswered::Failed
}

/// A page of a list, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    last_id: Option<String>,
    has_more: bool,
}

/// A user's records of one kind, oldest first, in pages.
#[derive(Debug)]
pub(super) struct Records<'a> {
    user: &'a str,
    kind: Kind,
    after: Option<String>,
    pages: usize,
    ended: bool,
}

impl<'a> Records<'a> {
    /// From the oldest on.
    pub(super) fn of(user: &'a str, kind: Kind) -> Self {
        Self { user, kind, after: None, pages: 0, ended: false }
    }

    /// The next page; `None` behind the last.
    ///
    /// # Errors
    /// The function gave none. Nothing more is to be had of it.
    pub(super) async fn next_page<P: Platform>(
        &mut self,
        platform: &P,
    ) -> Result<Option<Vec<Box<RawValue>>>, Unanswered> {
        if self.ended {
            return Ok(None);
        }
        let function = self.kind.function();
        if self.pages == PAGES_MAX {
            return Err(unreadable(platform, function, "a list has no end"));
        }
        self.pages += 1;
        let page = self.read(platform, PAGE_RECORDS_MAX).await?;
        self.ended = !page.has_more;
        if page.has_more && page.last_id.is_none() {
            return Err(unreadable(platform, function, "a page says that there is more, and not where"));
        }
        self.after = page.last_id;
        Ok(Some(page.data))
    }

    async fn read<P: Platform>(&self, platform: &P, limit: usize) -> Result<Page, Unanswered> {
        let (path, function) = (self.kind.path(), self.kind.function());
        let mut path = format!("{path}?order=asc&limit={limit}&user={}", percent::encode(self.user));
        if let Some(after) = &self.after {
            path.push_str("&after=");
            path.push_str(&percent::encode(after));
        }
        let answer = platform.call_neighbour(NeighbourCall::get(function, &path, TIMEOUT_MS)).await;
        let body = body_of(platform, function, answer)?;
        serde_json::from_slice(&body).map_err(|error| unreadable(platform, function, &error.to_string()))
    }
}

/// Where the bytes of a file are to be had.
pub(super) fn content_path(file: &RawValue) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let Named { id } = serde_json::from_str(file.get())?;
    Ok(format!("/v1/files/{id}/content"))
}

/// Whether another function has something of the user, or fails to say that it has not.
pub(super) async fn may_know<P: Platform>(platform: &P, user: &str) -> bool {
    for kind in Kind::ALL {
        match Records::of(user, kind).read(platform, 1).await {
            Ok(page) if page.data.is_empty() => {}
            Err(Unanswered::Absent) => {}
            Ok(_) | Err(Unanswered::Failed) => return true,
        }
    }
    false
}

/// What was erased elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Erased {
    pub(super) files: u64,
    pub(super) vector_stores: u64,
    pub(super) tool_calls: u64,
    /// The functions of whose part it is not known that all of it is gone.
    pub(super) incomplete: Vec<&'static str>,
    /// Whether one of them is there and failed.
    failed: bool,
}

impl Erased {
    /// Whether nobody had anything of the user, as far as the functions go that there are.
    pub(super) fn is_nothing(&self) -> bool {
        self.files + self.vector_stores + self.tool_calls == 0 && !self.failed
    }

    /// Asks a function until it has no more.
    async fn add_all<P: Platform>(
        &mut self,
        platform: &P,
        function: &str,
        path: &str,
    ) -> Result<(), Unanswered> {
        for _ in 0..ERASURE_ROUNDS_MAX {
            let answer = platform.call_neighbour(NeighbourCall::delete(function, path, TIMEOUT_MS)).await;
            let body = body_of(platform, function, answer)?;
            let receipt: Receipt = serde_json::from_slice(&body)
                .map_err(|error| unreadable(platform, function, &error.to_string()))?;
            if receipt.object != "user.data.deleted" {
                return Err(unreadable(platform, function, "it is no receipt"));
            }
            self.files += receipt.files;
            self.vector_stores += receipt.vector_stores;
            self.tool_calls += receipt.tool_calls;
            if !receipt.has_more {
                return Ok(());
            }
        }
        platform.log(&format!("a user's data in '{function}': more is left than one request erases"));
        Err(Unanswered::Failed)
    }
}

/// What a function says that it has erased.
#[derive(Debug, Deserialize)]
struct Receipt {
    object: String,
    #[serde(default)]
    files: u64,
    #[serde(default)]
    vector_stores: u64,
    #[serde(default)]
    tool_calls: u64,
    #[serde(default)]
    has_more: bool,
}

/// Erases what other functions keep of the user. One that fails keeps none of the others from it.
pub(super) async fn erase<P: Platform>(platform: &P, user: &str) -> Erased {
    let mut erased = Erased::default();
    let user = percent::encode(user);
    for function in [RETRIEVAL, TOOLS] {
        let path = format!("/v1/{function}/users/{user}/data");
        if let Err(unanswered) = erased.add_all(platform, function, &path).await {
            erased.incomplete.push(function);
            erased.failed |= unanswered == Unanswered::Failed;
        }
    }
    erased
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_only_where_all_who_are_there_say_so() {
        let check = |erased: Erased, expected: bool| assert_eq!(erased.is_nothing(), expected, "{erased:?}");
        check(Erased::default(), true);
        check(Erased { tool_calls: 1, ..Erased::default() }, false);
        check(Erased { incomplete: vec![RETRIEVAL], ..Erased::default() }, true);
        check(Erased { incomplete: vec![RETRIEVAL], failed: true, ..Erased::default() }, false);
    }
}
