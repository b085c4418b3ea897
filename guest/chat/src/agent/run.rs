//! A turn that may call tools of this server, made ready.

use super::call::CallContext;
use super::prompt::{Asking, Prompt};
use super::question::Decision;
use super::select::Wanted;
use super::settings::caps;
use super::toolbox::{Approved, Toolbox};
use crate::ask::Course;
use crate::locked::{Pulse, alive};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use crate::settings::Settings;
use std::rc::Rc;
use waggle_agent::budget::Next as Step;
use waggle_agent::caps::Caps;
use waggle_agent::offer::for_model;
use waggle_conversation::Store;
use waggle_conversation::ticket::Ticket;
use waggle_model::transport::Upstream;
use waggle_openai::id::ItemKind;
use waggle_openai::item::{HostedKind, StoredId};
use waggle_openai::mcp_tool::McpTool;
use waggle_openai::parameters::Parameters;
use waggle_openai::request::Continues;
use waggle_openai::{ItemId, ResponseId};

/// Whether what a run does is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// No: nobody would take it up.
    Off,
    /// Yes, and it begins now.
    Fresh,
    /// Yes, and it may have been begun before.
    Resumed,
}

/// A turn that may call tools of this server.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) tools: Rc<Toolbox>,
    /// The labels whose tools are told to whoever follows.
    pub(crate) listed: Vec<String>,
    /// What was asked for in a turn before, and is approved in this one.
    pub(crate) approved: Vec<Approved>,
    /// Whom the model is.
    pub(crate) asking: Asking,
    /// How far it may go.
    pub(crate) caps: Caps,
    /// What its calls have in common.
    pub(crate) context: Rc<CallContext>,
    pub(crate) keeping: Keeping,
}

/// The tools of a turn that is being made ready.
#[derive(Debug)]
pub(crate) struct Tools {
    tools: Rc<Toolbox>,
    listed: Vec<String>,
    approved: Vec<Approved>,
}

impl Tools {
    /// The settings of the turn as its model is told them first: the tools are functions among the client's own.
    pub(crate) fn told(&self, parameters: &Parameters) -> Parameters {
        for_model(parameters, &self.tools.available(), 1, Step::Act)
    }

    /// The course of a turn with these tools: its model is asked as it would be, and again.
    ///
    /// # Errors
    /// A variable cannot be read, or is not as it must be.
    pub(crate) async fn into_course<P: Platform>(
        self,
        platform: &P,
        course: Course,
        (id, continues): (ResponseId, Continues),
        (prompt, parameters): (Prompt, &Parameters),
        settings: Rc<Settings>,
        keeping: Keeping,
    ) -> Result<Course, Problem> {
        let plan = match course {
            Course::Ask(plan) => *plan,
            // Nothing is known without a model where there are tools.
            other => return Ok(other),
        };
        let Self { tools, listed, approved } = self;
        let caps = caps(platform, parameters.max_tool_calls, prompt.is_streamed()).await?;
        let conversation = match continues {
            Continues::Conversation(id) => Some(id.to_string()),
            _ => None,
        };
        let searched = parameters.file_search.as_ref();
        let vector_store_ids = searched.map(|search| search.vector_store_ids.clone()).unwrap_or_default();
        let context = CallContext { response: id.to_string(), conversation, vector_store_ids };
        let asking = Asking::new((prompt, parameters.clone()), Rc::clone(&tools), settings, plan);
        let run = Run { tools, listed, approved, asking, caps, context: Rc::new(context), keeping };
        Ok(Course::Act(Box::new(run)))
    }
}

/// The labels of a request's tools that its history does not tell of yet.
fn untold<'h>(named: &[McpTool], tools: &Toolbox, history: impl Iterator<Item = &'h str>) -> Vec<String> {
    let mut labels: Vec<&str> = Vec::new();
    for tool in named {
        let label = tool.server_label.as_str();
        if tools.tools().any(|known| known.label == label) {
            labels.push(label);
        }
    }
    if labels.is_empty() {
        return Vec::new();
    }
    for item in history {
        // Items begin with their ids, and few are lists.
        if item.contains("\"mcpl_") && is_list(item) {
            labels.retain(|label| !item.contains(&format!("\"server_label\":\"{label}\"")));
        }
    }
    labels.into_iter().map(str::to_owned).collect()
}

fn is_list(item: &str) -> bool {
    let id = serde_json::from_str::<StoredId<'_>>(item).ok().and_then(|item| ItemId::parse(item.id));
    id.is_some_and(|id| id.kind == ItemKind::Hosted(HostedKind::McpListTools))
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// The tools of a turn, and keeps its place meanwhile; `None` where it has none.
    ///
    /// # Errors
    /// 400: the request names what is not there; the tools function does not answer.
    pub(crate) async fn tools_of<'h>(
        &self,
        parameters: &Parameters,
        (decisions, of_intent): (&[Decision], &[String]),
        history: impl Iterator<Item = &'h str>,
        ticket: Option<&Ticket>,
    ) -> Result<Option<Tools>, Problem> {
        let decided = decisions
            .iter()
            .map(|decision| (decision.question.label.as_str(), decision.question.function.as_str()));
        let Some(wanted) = Wanted::of(&self.platform, parameters, decided, of_intent).await? else {
            return Ok(None);
        };
        let reading = wanted.read(&self.platform, parameters);
        // In a box, so that turns without tools, which are most, do not carry its room.
        let tools = Box::pin(async {
            alive((&self.store, &self.platform), ticket, &mut Pulse::default(), Box::pin(reading)).await
        });
        let tools = tools.await?;
        let mut approved = Vec::new();
        for decision in decisions {
            approved.extend(decision.approved(&tools)?);
        }
        if tools.is_empty() {
            return Ok(None);
        }
        let listed = untold(&parameters.mcp, &tools, history);
        Ok(Some(Tools { tools: Rc::new(tools), listed, approved }))
    }
}
