//! The methods, each as its revision wants it.

use super::admit::{self, Admitted, Read};
use super::answer::{self, Answer, Refusal};
use super::shape::{Page, ServedPrompt, ServedResult, ServedTool};
use super::stream::StreamedCall;
use super::written::{self, WrittenContents, WrittenPrompt, WrittenResource, WrittenTemplate, WrittenTool};
use super::{
    Head, PAGE_ENTRIES, Server, ServerFailure, ServerPrompts, ServerResources, ServerTools, Settings,
    ToolCall,
};
use crate::message::{self, code};
use crate::progress::Unheard;
use crate::version::{SERVER_KEY, SUBSCRIPTION_KEY, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use waggle_model::transport::ChunkSource;
use waggle_platform::Reply;

/// How many tools or prompts are listed at most, over all pages.
const LISTED_MAX: usize = 1024;
/// How long a client may keep what describes the server, in milliseconds.
const DESCRIBED_MS: u32 = 3_600_000;
/// How long a client may keep a list, in milliseconds: a tool that is withdrawn is gone for all of them after that.
const LISTED_MS: u32 = 60_000;

impl<T: ServerTools, R: ServerResources, P: ServerPrompts> Server<T, R, P> {
    /// Answers one request. The caller has been authenticated before: what the traits serve is the caller's.
    pub async fn handle<C: ChunkSource>(self, head: Head<'_>, body: C) -> Answer<T> {
        if let Err(refusal) = admit::head(&self.settings, head) {
            let mut reply = refusal.reply(None, None);
            if reply.status == 405 {
                reply.headers.push(("allow", "POST".to_owned()));
            }
            return Answer::Reply(reply);
        }
        let bytes = match admit::body(body).await {
            Ok(bytes) => bytes,
            Err(refusal) => return Answer::Reply(refusal.reply(None, None)),
        };
        match admit::message(head, &bytes) {
            Ok(Read::Notification) => Answer::Reply(answer::accepted()),
            Ok(Read::Request(request)) => self.answer(head, request).await,
            Err(refused) => Answer::Reply(refused.refusal.reply(refused.version, refused.id.as_ref())),
        }
    }

    async fn answer(self, head: Head<'_>, request: Admitted) -> Answer<T> {
        let takes_events = admit::accepts(head, "text/event-stream");
        let token = request.params.meta.as_ref().and_then(|meta| meta.get("progressToken"));
        let token = token.filter(|token| token.is_string() || token.is_i64() || token.is_u64()).cloned();
        if let ("tools/call", Some(token), true) = (request.method.as_str(), token, takes_events) {
            return match call_of(&request) {
                Ok((name, arguments)) => Answer::Stream(Box::new(StreamedCall {
                    name,
                    arguments,
                    tools: self.tools,
                    settings: self.settings,
                    version: request.version,
                    id: request.id,
                    token,
                })),
                Err(refusal) => Answer::Reply(refusal.reply(Some(request.version), Some(&request.id))),
            };
        }
        let answered = match request.method.as_str() {
            "subscriptions/listen" if request.version.is_stateless() => self.listen(&request, takes_events),
            _ => self.dispatch(&request).await.map(|result| answer::result(&request.id, &result)),
        };
        Answer::Reply(
            answered.unwrap_or_else(|refusal| refusal.reply(Some(request.version), Some(&request.id))),
        )
    }

    async fn dispatch(&self, request: &Admitted) -> Result<Box<RawValue>, Refusal> {
        let Admitted { method, params, version, .. } = request;
        let failed = |failure| refusal(failure, *version);
        match (method.as_str(), version.is_stateless()) {
            ("server/discover", true) => self.discover(),
            ("initialize", false) => self.initialize(params.protocol_version.as_deref()),
            ("ping", false) => written::raw(&json!({})),
            ("tools/list", _) => {
                let tools = self.tools.tools().await.map_err(failed)?;
                let page = page(tools, |tool: &ServedTool| &tool.name, params.cursor.as_deref())?;
                let tools: Vec<_> = page.entries.iter().map(|tool| WrittenTool::of(tool, *version)).collect();
                self.list("tools", &tools, page.next, *version)
            }
            ("tools/call", _) => {
                let (name, arguments) = call_of(request)?;
                let call = ToolCall { name: &name, arguments: &arguments };
                let result = self.tools.call(call, &mut Unheard).await.map_err(failed)?;
                called(&self.settings, *version, result)
            }
            ("resources/list", _) => {
                let page = self.resources.resources(params.cursor.as_deref()).await.map_err(failed)?;
                let resources: Vec<_> = page.entries.iter().map(WrittenResource::of).collect();
                self.list("resources", &resources, page.next, *version)
            }
            ("resources/templates/list", _) => {
                let templates = self.resources.templates().await.map_err(failed)?;
                let templates: Vec<_> =
                    templates.iter().take(PAGE_ENTRIES).map(WrittenTemplate::of).collect();
                self.list("resourceTemplates", &templates, None, *version)
            }
            ("resources/read", _) => self.read(params.uri.as_deref(), *version).await,
            ("prompts/list", _) => {
                let prompts = self.prompts.prompts().await.map_err(failed)?;
                let page = page(prompts, |prompt: &ServedPrompt| &prompt.name, params.cursor.as_deref())?;
                let prompts: Vec<_> = page.entries.iter().map(WrittenPrompt::of).collect();
                self.list("prompts", &prompts, page.next, *version)
            }
            ("prompts/get", _) => self.prompt(request).await,
            _ => Err(Refusal::new(code::METHOD_NOT_FOUND, format!("there is no method '{method:.100}'"))),
        }
    }

    fn discover(&self) -> Result<Box<RawValue>, Refusal> {
        let mut result = self.described();
        result.insert("supportedVersions".to_owned(), json!(Version::SERVED.map(Version::name)));
        finish(&self.settings, Version::LATEST, Some(DESCRIBED_MS), result)
    }

    fn initialize(&self, asked: Option<&str>) -> Result<Box<RawValue>, Refusal> {
        let Some(asked) = asked else {
            return Err(Refusal::new(code::INVALID_PARAMS, "'protocolVersion' is missing"));
        };
        let known = Version::of(asked).filter(|version| Version::SERVED.contains(version));
        let version =
            known.filter(|version| !version.is_stateless()).unwrap_or(Version::LATEST_WITH_HANDSHAKE);
        let mut result = self.described();
        result.insert("protocolVersion".to_owned(), version.name().into());
        result.insert("serverInfo".to_owned(), written::server(&self.settings));
        written::raw(&result)
    }

    /// What both ways to open have in common.
    fn described(&self) -> Map<String, Value> {
        let mut result = Map::new();
        result.insert("capabilities".to_owned(), json!({"tools": {}, "resources": {}, "prompts": {}}));
        if let Some(instructions) = &self.settings.instructions {
            result.insert("instructions".to_owned(), instructions.as_str().into());
        }
        result
    }

    /// Nothing here tells of changes, so a subscription is granted nothing and is over at once, in good order.
    fn listen(&self, request: &Admitted, takes_events: bool) -> Result<Reply, Refusal> {
        if !takes_events {
            let message = "a subscription is answered by events: 'Accept' has to list text/event-stream";
            return Err(Refusal::new(code::INVALID_REQUEST, message).with_status(406));
        }
        let id: Value = serde_json::from_str(request.id.raw().get()).unwrap_or_default();
        let meta = json!({SUBSCRIPTION_KEY: id});
        let granted = Map::from_iter([("_meta".to_owned(), meta), ("notifications".to_owned(), json!({}))]);
        let granted = message::notification("notifications/subscriptions/acknowledged", granted);
        let meta = json!({SUBSCRIPTION_KEY: id, SERVER_KEY: written::server(&self.settings)});
        let over = written::raw(&json!({"resultType": "complete", "_meta": meta}))?;
        Ok(answer::events(&[granted, message::answer(Some(&request.id), Ok(&over))]))
    }

    fn list<E: Serialize>(
        &self,
        name: &'static str,
        entries: &[E],
        next: Option<String>,
        version: Version,
    ) -> Result<Box<RawValue>, Refusal> {
        let mut result: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
        result.insert(name, written::raw(&entries)?);
        if let Some(next) = next {
            result.insert("nextCursor", written::raw(&next)?);
        }
        finish(&self.settings, version, Some(LISTED_MS), result)
    }

    async fn read(&self, uri: Option<&str>, version: Version) -> Result<Box<RawValue>, Refusal> {
        let Some(uri) = uri else { return Err(Refusal::new(code::INVALID_PARAMS, "'uri' is missing")) };
        let contents = self.resources.read(uri).await.map_err(|failure| match failure {
            ServerFailure::Unknown(text) if !version.is_stateless() => {
                Refusal::new(code::RESOURCE_NOT_FOUND, text)
            }
            ServerFailure::Unknown(text) => {
                let mut refusal = Refusal::new(code::INVALID_PARAMS, text);
                refusal.error.data = Some(json!({"uri": uri}));
                refusal
            }
            failure => refusal(failure, version),
        })?;
        let contents: Vec<_> = contents.iter().map(WrittenContents::of).collect();
        let result = BTreeMap::from([("contents", contents)]);
        finish(&self.settings, version, Some(LISTED_MS), result)
    }

    async fn prompt(&self, request: &Admitted) -> Result<Box<RawValue>, Refusal> {
        let Admitted { params, version, .. } = request;
        let Some(name) = params.name.as_deref() else {
            return Err(Refusal::new(code::INVALID_PARAMS, "'name' is missing"));
        };
        let arguments = params.arguments.as_ref().map(|arguments| serde_json::from_str(arguments.get()));
        let arguments: BTreeMap<String, String> = arguments
            .transpose()
            .map_err(|_| {
                Refusal::new(code::INVALID_PARAMS, "'arguments' of a prompt are strings by their names")
            })?
            .unwrap_or_default();
        let text =
            self.prompts.prompt(name, &arguments).await.map_err(|failure| refusal(failure, *version))?;
        finish(&self.settings, *version, None, written::prompt(&text))
    }
}

/// The tool and the arguments of a `tools/call`.
fn call_of(request: &Admitted) -> Result<(String, Box<RawValue>), Refusal> {
    let Some(name) = request.params.name.clone() else {
        return Err(Refusal::new(code::INVALID_PARAMS, "'name' is missing"));
    };
    let arguments = match &request.params.arguments {
        Some(arguments) if arguments.get().starts_with('{') => arguments.clone(),
        Some(_) => return Err(Refusal::new(code::INVALID_PARAMS, "'arguments' have to be an object")),
        None => written::raw(&json!({}))?,
    };
    Ok((name, arguments))
}

/// The result of a call.
pub(super) fn called(
    settings: &Settings,
    version: Version,
    result: ServedResult,
) -> Result<Box<RawValue>, Refusal> {
    finish(settings, version, None, written::called(&result, version))
}

/// What a failure is to a client.
pub(super) fn refusal(failure: ServerFailure, version: Version) -> Refusal {
    match failure {
        ServerFailure::Unknown(text) | ServerFailure::Invalid(text) => {
            Refusal::new(code::INVALID_PARAMS, text)
        }
        ServerFailure::Failed(text) => Refusal::new(code::INTERNAL_ERROR, text),
        busy @ ServerFailure::Busy(seconds) => Refusal {
            status: version.is_stateless().then_some(503),
            retry_after_s: Some(seconds),
            ..Refusal::new(code::INTERNAL_ERROR, busy.to_string())
        },
    }
}

/// A result with what its revision wants on it; `kept_ms` is how long a client may keep it, where results of its method
/// may be kept.
fn finish<W: Serialize>(
    settings: &Settings,
    version: Version,
    kept_ms: Option<u32>,
    result: W,
) -> Result<Box<RawValue>, Refusal> {
    #[derive(Serialize)]
    struct Finished<W> {
        #[serde(rename = "resultType")]
        result_type: &'static str,
        #[serde(flatten)]
        result: W,
        #[serde(rename = "ttlMs", skip_serializing_if = "Option::is_none")]
        kept_ms: Option<u32>,
        // What is served is the tenant's, and no other may be shown it.
        #[serde(rename = "cacheScope", skip_serializing_if = "Option::is_none")]
        kept_by: Option<&'static str>,
        #[serde(rename = "_meta")]
        meta: Value,
    }
    if !version.is_stateless() {
        return written::raw(&result);
    }
    written::raw(&Finished {
        result_type: "complete",
        result,
        kept_ms,
        kept_by: kept_ms.map(|_| "private"),
        meta: json!({SERVER_KEY: written::server(settings)}),
    })
}

/// The entries after `cursor` in the order of their names: a list of the same entries is always the same.
fn page<E>(
    mut entries: Vec<E>,
    name: impl Fn(&E) -> &String,
    cursor: Option<&str>,
) -> Result<Page<E>, Refusal> {
    entries.sort_by(|one, other| name(one).cmp(name(other)));
    entries.truncate(LISTED_MAX);
    let from = match cursor {
        Some(cursor) => {
            let after = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(after) = after else {
                return Err(Refusal::new(code::INVALID_PARAMS, "'cursor' was given by no page"));
            };
            entries.partition_point(|entry| *name(entry) <= after)
        }
        None => 0,
    };
    let mut entries = entries.split_off(from);
    let has_more = entries.len() > PAGE_ENTRIES;
    entries.truncate(PAGE_ENTRIES);
    let last = entries.last().filter(|_| has_more).map(|entry| URL_SAFE_NO_PAD.encode(name(entry)));
    Ok(Page { entries, next: last })
}

#[cfg(test)]
mod tests {
    use super::super::shape::ServedResource;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_together_hold_every_entry_once(count in 0_usize..450) {
            let entries: Vec<String> = (0..count).rev().map(|number| format!("tool_{number}")).collect();
            let (mut found, mut cursor) = (Vec::new(), None);
            for _ in 0..=count / PAGE_ENTRIES {
                let page = page(entries.clone(), |name| name, cursor.as_deref()).unwrap();
                prop_assert!(page.entries.len() <= PAGE_ENTRIES);
                found.extend(page.entries);
                cursor = page.next;
                if cursor.is_none() { break; }
            }
            prop_assert_eq!(cursor, None);
            let mut expected = entries;
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_cursor_that_no_page_gave_is_refused() {
        let refused = page(vec!["a".to_owned()], |name| name, Some("§")).unwrap_err();
        assert_eq!(refused.error.code, code::INVALID_PARAMS);
    }

    #[test]
    fn an_unused_resource_is_listed_without_what_is_not_known_of_it() {
        let resource = ServedResource {
            uri: "waggle://files/file_1".to_owned(),
            name: "a.txt".to_owned(),
            description: None,
            mime_type: None,
            size: None,
        };
        let written = serde_json::to_value(WrittenResource::of(&resource)).unwrap();
        assert_eq!(written, json!({"uri": "waggle://files/file_1", "name": "a.txt"}));
    }
}
