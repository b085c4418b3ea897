//! `search_conversation(query)` and `hand_over(reason)`: the conversation that the call is made in, through the function
//! that has it.

use super::text;
use crate::fetch::{FetchError, fetch, get_json};
use crate::outcome::{Done, Fault, Outcome};
use crate::service::Service;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use waggle_conversation::Store;
use waggle_index::words;
use waggle_mcp::Fetch;
use waggle_openai::{ConversationId, percent};
use waggle_platform::{NeighbourCall, Platform};
use waggle_tool::wire::{CallError, CallRequest};

const FUNCTION: &str = "chat";
/// How long it may be silent, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// How many pages of items are looked at, newest first, and how many items a page has.
const PAGES_MAX: usize = 5;
const PAGE_ITEMS: usize = 100;
/// The longest page, in bytes.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How many messages are told.
const FOUND_MAX: usize = 8;
/// How many characters of a message are.
const FOUND_CHARACTERS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    #[serde(default)]
    last_id: Option<String>,
    #[serde(default)]
    has_more: bool,
}

/// A message that was found: how well it fits, and what is told of it.
struct Found {
    fits: usize,
    told: Value,
}

/// The conversation of a call, whose id is one.
fn conversation(request: &CallRequest) -> Result<ConversationId, Fault> {
    let id = request.conversation.as_deref().and_then(ConversationId::parse);
    id.ok_or_else(|| Fault::new(CallError::Failed, "This turn stands in no conversation."))
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    pub(super) async fn search_conversation(
        &self,
        arguments: &Map<String, Value>,
        request: &CallRequest,
    ) -> Outcome {
        let conversation = conversation(request)?;
        let wanted: HashSet<String> = words::of_query(text(arguments, "query")).into_iter().collect();
        let mut found = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(conversation, after.as_deref()).await?;
            found.extend(page.data.iter().filter_map(|item| find(item, &wanted)));
            after = page.last_id.filter(|_| page.has_more);
            if after.is_none() {
                break;
            }
        }
        // Those that fit best; of two that fit alike the newer, which was read first.
        found.sort_by_key(|one| std::cmp::Reverse(one.fits));
        let told: Vec<Value> = found.into_iter().take(FOUND_MAX).map(|one| one.told).collect();
        Ok(Done::of(json!({ "messages": told }).to_string()))
    }

    async fn page(&self, conversation: ConversationId, after: Option<&str>) -> Result<Page, Fault> {
        let after = after.map(|id| format!("&after={}", percent::encode(id))).unwrap_or_default();
        let url = format!(
            "http://{FUNCTION}.spin.internal/v1/conversations/{conversation}/items?limit={PAGE_ITEMS}&order=desc{after}"
        );
        let failed = || Fault::new(CallError::Failed, "The conversation cannot be read.");
        let answer = match fetch(&self.fetch, get_json(url, TIMEOUT_MS), PAGE_BYTES_MAX).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return Err(failed().logged(format!("the items answered {}", answer.status))),
            Err(FetchError::Transport(failure)) => {
                return Err(Fault { text: failed().text, ..failure.into() });
            }
            Err(failure) => return Err(failed().logged(failure.to_string())),
        };
        serde_json::from_slice(&answer.body).map_err(|error| failed().logged(error.to_string()))
    }

    pub(super) async fn hand_over(&self, arguments: &Map<String, Value>, request: &CallRequest) -> Outcome {
        let conversation = conversation(request)?;
        let path = format!("/v1/conversations/{conversation}/handover");
        let body = json!({"reason": text(arguments, "reason"), "by": "model"}).to_string().into_bytes();
        let call = NeighbourCall::post(FUNCTION, &path, body, TIMEOUT_MS);
        let told = "The conversation could not be handed over.";
        let answer = self.platform.call_neighbour(call).await;
        let answer = answer.map_err(|failure| Fault { text: told.to_owned(), ..failure.into() })?;
        if !(200..300).contains(&answer.status) {
            let log =
                format!("handover answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            let fault = Fault::new(CallError::Failed, told).logged(log);
            let passes = matches!(answer.status, 429 | 500..);
            return Err(if passes { Fault { again: crate::outcome::Again::Later, ..fault } } else { fault });
        }
        Ok(Done { output: "The conversation was handed over to a person.".to_owned(), handed_over: true })
    }
}

/// What is told of an item, if it is a message with at least one of the words.
fn find(item: &Value, wanted: &HashSet<String>) -> Option<Found> {
    if item.get("type")?.as_str()? != "message" {
        return None;
    }
    let said = match item.get("content")? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => return None,
    };
    let has: HashSet<String> = words::of_document(&said).into_iter().collect();
    let fits = wanted.iter().filter(|word| has.contains(*word)).count();
    let shown: String = said.chars().take(FOUND_CHARACTERS_MAX).collect();
    let told = json!({"role": item.get("role"), "id": item.get("id"), "text": shown});
    (fits > 0).then_some(Found { fits, told })
}
