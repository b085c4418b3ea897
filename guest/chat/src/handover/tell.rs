//! `POST /waggle/handover/{id}`, by which the host delivers the work of telling people that a conversation is theirs: through
//! a tool of the tenant's registry, so that what it may reach, its credentials, its bounds and the audit log are a tool's. No
//! client reaches it: without the host's field it is no endpoint.

use super::event::event;
use super::transcript::{ITEMS_MAX, transcript};
use crate::platform::{Delivery, NeighbourCall, Platform, QueueFailure};
use crate::problem::{Problem, internal};
use crate::reply::Reply;
use crate::service::{report, viewer};
use crate::settings::text;
use serde::de::DeserializeOwned;
use waggle_conversation::conversation::{self, Conversation};
use waggle_conversation::handover::{Handover, note_told};
use waggle_conversation::{Store, items};
use waggle_model::failure::excerpt;
use waggle_openai::list::{Order, PageQuery};
use waggle_openai::{ApiError, ConversationId, json};
use waggle_tool::wire::{
    CALL_PATH, CATALOG_PATH, CallReply, CallRequest, Catalog, CatalogRequest, FUNCTION, Offered, Selection,
};

/// The variable that names the tool, as `LABEL.FUNCTION`; empty: nobody is told.
const TOOL_VARIABLE: &str = "handover_tool";
const PATH_PREFIX: &str = "/waggle/handover/";
/// How long a call may be silent, in milliseconds: longer than tools may take.
const TIMEOUT_MS: u64 = 60_000;
/// The work comes before the mark. For so long it is waited for, and so often it is looked for, in milliseconds.
const MARK_MS_MAX: u64 = 2_000;
const MARK_LOOK_MS: u64 = 50;

/// The conversation whose people are to be told, if that is what method and path mean.
pub(crate) fn tell_path(method: &str, path: &str) -> Option<ConversationId> {
    let id = path.strip_prefix(PATH_PREFIX)?;
    ConversationId::parse(id).filter(|_| method == "POST")
}

/// 2xx: the work is done, whatever came of it.
fn done() -> Reply {
    Reply::json(b"{\"object\":\"conversation.handover\",\"done\":true}".to_vec())
}

/// 503: the host is to come again.
fn undone(log: String) -> Problem {
    let error = ApiError::server(503, "handover_untold", "Nobody could be told of the hand-over now.");
    Problem { error: Box::new(error), log: Some(log) }
}

/// What the output of the tool may say: how people call the conversation.
#[derive(Default, serde::Deserialize)]
struct Told {
    #[serde(default)]
    reference: Option<String>,
}

/// The telling of a conversation's people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling {
    pub(crate) id: ConversationId,
}

impl Telling {
    /// Hands it to the host's queue.
    pub(crate) async fn enqueue<P: Platform>(self, platform: &P) -> Result<(), QueueFailure> {
        platform.enqueue(&format!("{PATH_PREFIX}{}", self.id)).await
    }

    /// Hands it to the host's queue, or gives it back where there is none. A failure is told to the operator: later turns
    /// of the conversation try again.
    pub(crate) async fn begin<P: Platform>(self, platform: &P) -> Option<Self> {
        match self.enqueue(platform).await {
            Ok(()) => None,
            Err(QueueFailure::Absent) => Some(self),
            Err(failure) => {
                platform
                    .log(&format!("conversation={} nobody was told of its hand-over: {failure:?}", self.id));
                None
            }
        }
    }

    /// Serves a delivery. The head of the answer ends the work, so it comes when people were told.
    pub(crate) async fn deliver<S: Store, P: Platform>(
        self,
        store: &S,
        platform: &P,
        delivery: Delivery,
    ) -> Reply {
        match self.run(store, platform).await {
            Ok(()) => done(),
            Err(problem) if delivery.last => {
                let _logged = report(platform, &problem);
                done()
            }
            Err(problem) => report(platform, &problem),
        }
    }

    /// Does it once, without a queue.
    pub(crate) async fn run_alone<S: Store, P: Platform>(self, store: &S, platform: &P) {
        if let Err(problem) = self.run(store, platform).await {
            let _logged = report(platform, &problem);
        }
    }

    async fn run<S: Store, P: Platform>(self, store: &S, platform: &P) -> Result<(), Problem> {
        let Some((conversation, mark)) = self.marked(store, platform).await? else { return Ok(()) };
        let named = text(platform, TOOL_VARIABLE, "").await?;
        let reference = if named.trim().is_empty() {
            None
        } else {
            let (label, function) = tool(&named)?;
            self.tell(store, platform, (label, function), (&conversation, &mark)).await?
        };
        let now_s = platform.now_ms() / 1000;
        Ok(note_told(store, &conversation, &mark.id, now_s, reference.as_deref()).await?)
    }

    /// The conversation with its mark, if people are still to be told of it. Whoever marks it hands over the work first.
    async fn marked<S: Store, P: Platform>(
        self,
        store: &S,
        platform: &P,
    ) -> Result<Option<(Conversation, Handover)>, Problem> {
        // The work is the function's own, whoever has brought it about.
        let service = viewer(&[])?;
        let mut waited_ms = 0;
        loop {
            let Some(conversation) = conversation::open(store, &service, self.id.0).await? else {
                return Ok(None);
            };
            if let Some(mark) = conversation.record().handover.clone() {
                return Ok(mark.told_at.is_none().then_some((conversation, mark)));
            }
            if waited_ms >= MARK_MS_MAX {
                // Handed back already, or never handed over: who was to mark it has failed, and has said so.
                return Ok(None);
            }
            platform.sleep(MARK_LOOK_MS).await;
            waited_ms += MARK_LOOK_MS;
        }
    }

    /// Calls the tool; gives what people call the conversation, if they say so.
    async fn tell<S: Store, P: Platform>(
        self,
        store: &S,
        platform: &P,
        (label, function): (&str, &str),
        (conversation, mark): (&Conversation, &Handover),
    ) -> Result<Option<String>, Problem> {
        let offered = self.offered(platform, label, function).await?;
        let query = PageQuery { limit: ITEMS_MAX, order: Order::Descending, after: None };
        let page = items::page(store, conversation, query).await?;
        let transcript = transcript(&page.items, page.has_more);
        let call = CallRequest {
            label: offered.label,
            function: offered.function,
            digest: offered.digest,
            arguments: event(self.id, conversation.user(), mark, &transcript)?,
            idempotency_key: format!("handover-{}", mark.id),
            // Whoever named the tool in the configuration has approved of it.
            approved: true,
            repeated: false,
            response: None,
            conversation: Some(self.id.to_string()),
            vector_store_ids: Vec::new(),
        };
        let reply: CallReply = self.ask(platform, CALL_PATH, &call).await?;
        if let Some(error) = reply.error {
            return Err(undone(format!(
                "conversation={} the tool {label}.{function} failed ({error:?}): {}",
                self.id,
                excerpt(reply.output.as_bytes())
            )));
        }
        Ok(serde_json::from_str::<Told>(&reply.output).unwrap_or_default().reference)
    }

    async fn offered<P: Platform>(
        self,
        platform: &P,
        label: &str,
        function: &str,
    ) -> Result<Offered, Problem> {
        let selection = Selection {
            label: Some(label.to_owned()),
            server_url: None,
            functions: Some(vec![function.to_owned()]),
        };
        let request = CatalogRequest { select: vec![selection] };
        let catalog: Catalog = self.ask(platform, CATALOG_PATH, &request).await?;
        let found = catalog.tools.into_iter().find(|tool| tool.label == label && tool.function == function);
        found.ok_or_else(|| {
            undone(format!(
                "conversation={} the variable '{TOOL_VARIABLE}' names {label}.{function}, which the tenant does not have \
                 or has not accepted",
                self.id
            ))
        })
    }

    async fn ask<P: Platform, T: DeserializeOwned>(
        self,
        platform: &P,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, Problem> {
        let mut out = Vec::with_capacity(1024);
        json::push(&mut out, body);
        let call = NeighbourCall::post(FUNCTION, path, out, TIMEOUT_MS);
        let answer = platform.call_neighbour(call).await;
        let answer =
            answer.map_err(|failure| undone(format!("conversation={} {path}: {failure}", self.id)))?;
        let told = || excerpt(&answer.body);
        if answer.status != 200 {
            return Err(undone(format!(
                "conversation={} {path} answered {}: '{}'",
                self.id,
                answer.status,
                told()
            )));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| undone(format!("conversation={} {path}: {error}, in '{}'", self.id, told())))
    }
}

/// The label and the function that the variable names.
fn tool(named: &str) -> Result<(&str, &str), Problem> {
    let named = named.trim();
    let parts = named.split_once('.').filter(|(label, function)| !label.is_empty() && !function.is_empty());
    parts.ok_or_else(|| {
        internal(format!(
            "the variable '{TOOL_VARIABLE}' must be LABEL.FUNCTION, as in 'desk.notify', not '{named}'"
        ))
    })
}
