//! A turn that is ready: what its response repeats, what was looked up for it, and how it is kept when it is over.

use crate::fallback::Reader;
use crate::format::Format;
use crate::handover::{Telling, begun_by};
use crate::knowledge::{Kept, Looked};
use crate::output::Output;
use crate::platform::Platform;
use crate::summary::Aside;
use crate::tokens::{Tally, count_items};
use waggle_conversation::Store;
use waggle_conversation::background::Pair;
use waggle_conversation::history::Continuation;
use waggle_conversation::ticket::Ticket;
use waggle_conversation::turn::{CommitError, FinishedTurn};
use waggle_openai::Nonce;
use waggle_openai::item::{Item, RawItem};
use waggle_openai::request::Continues;
use waggle_openai::response::{ResponseHead, Status, Usage};

/// A turn that waits for its answer.
#[derive(Debug)]
pub(crate) struct PreparedTurn {
    /// What its response repeats of the request.
    pub(crate) head: ResponseHead,
    /// Whether the answer is streamed.
    pub(crate) stream: bool,
    /// Who reads the answer.
    pub(crate) reader: Reader,
    /// The form the answer must have.
    pub(crate) format: Format,
    /// What is said now, as it will be stored.
    pub(crate) input: Vec<RawItem>,
    /// The tokens of `input`.
    pub(crate) input_tokens: u64,
    /// The tokens of all messages that go to the model.
    pub(super) prompt_tokens: u64,
    /// As which model its tokens are counted.
    pub(super) counted_as: String,
    pub(crate) continuation: Continuation,
    /// What is to be done beside the turn's answer.
    pub(crate) aside: Option<Aside>,
    /// What was looked up for it.
    pub(crate) looked: Option<Box<Looked>>,
    /// The answer, where it is to be kept for questions that are alike.
    pub(super) kept: Option<Box<Kept>>,
    /// How old its conversation's record may become before it is written anew.
    pub(crate) renewal_s: u64,
    /// Whether nobody answers it: its conversation is handed over to people.
    pub(crate) silent: bool,
    /// How the answer grew, where it is streamed, for who asks for its events again.
    pub(crate) trace: Option<Vec<u8>>,
    /// Whether something was done for it that changes something outside. Then its conversation is to know, however the turn
    /// ends.
    pub(crate) acted: bool,
}

/// A turn that is kept.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Its response object.
    pub(crate) response: Vec<u8>,
    /// Its number in its conversation; none for one that has joined none.
    pub(crate) turn: Option<u64>,
}

/// How a turn ended, for the record.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// The status.
    pub(crate) status: Status,
    /// What the model said.
    pub(crate) output: &'a [RawItem],
    /// Its tokens.
    pub(crate) output_tokens: u64,
    /// What the endpoint counted.
    pub(crate) usage: Option<Usage>,
}

impl<'a> Ending<'a> {
    /// The end of a turn that was answered in the model's place: no model counted anything.
    pub(crate) fn fallback(output: &'a [RawItem]) -> Self {
        Self { status: Status::Completed, output, output_tokens: 0, usage: Some(Usage::default()) }
    }
}

impl PreparedTurn {
    /// The nonce of the response.
    pub(crate) fn nonce(&self) -> Nonce {
        self.head.id.0
    }

    /// The turn's place in its conversation, if it is in one.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.continuation.ticket()
    }

    /// Notes the answer, if it is to be kept for questions that are alike. It has come to its end.
    pub(crate) fn keep_answer(&mut self, output: &mut Output) {
        let keepable = self.looked.as_mut().and_then(|looked| looked.keepable.take());
        self.kept = keepable.map(|keepable| Box::new(keepable.with(output.kept_answer())));
    }

    /// What becomes of the answer, now that the turn is over: it is kept, or nobody needs to wait for it.
    pub(crate) fn take_kept(&mut self) -> Option<Box<Kept>> {
        let given_up = |looked: &mut Box<Looked>| Some(Box::new(looked.keepable.take()?.with(None)));
        self.kept.take().or_else(|| self.looked.as_mut().and_then(given_up))
    }

    /// The tokens of what a model said in this turn.
    pub(crate) fn count<'t, 'i: 't, P: Platform>(
        &self,
        platform: &P,
        said: impl IntoIterator<Item = &'t Item<'i>>,
    ) -> u64 {
        count_items(platform, &self.counted_as, said)
    }

    /// What a step of a run used, where the endpoint has not counted it.
    pub(crate) fn counted_in_step<P: Platform>(&self, platform: &P, output: &Output) -> Usage {
        let (all, said) =
            (self.count(platform, output.items()), self.count(platform, output.items_of_step()));
        let usage = self.counted(platform, said);
        Usage { input_tokens: usage.input_tokens + all.saturating_sub(said), ..usage }
    }

    /// What was used, where the endpoint has not counted it.
    fn counted<P: Platform>(&self, platform: &P, output_tokens: u64) -> Usage {
        let settings = Tally::default().parameters(&self.head.parameters).count(platform, &self.counted_as);
        Usage { input_tokens: self.prompt_tokens + settings.tokens, output_tokens, ..Usage::default() }
    }

    /// Commits the turn. Only a turn the model ended itself becomes a part of its
    /// conversation, or one that has changed something; when another failed or was abandoned, only the response says so.
    pub(crate) async fn commit<S: Store, P: Platform>(
        &self,
        store: &S,
        platform: &P,
        ending: Ending<'_>,
    ) -> Result<Committed, CommitError> {
        self.commit_with(store, platform, ending, |_| Vec::new()).await
    }

    /// As [`commit`](Self::commit), together with what `also` makes of the response object.
    pub(crate) async fn commit_with<S: Store, P: Platform>(
        &self,
        store: &S,
        platform: &P,
        ending: Ending<'_>,
        also: impl FnOnce(&[u8]) -> Vec<Pair>,
    ) -> Result<Committed, CommitError> {
        let joins = self.acted || matches!(ending.status, Status::Completed | Status::Incomplete(_));
        let usage = match ending.usage {
            None if ending.output.is_empty() => None,
            usage => Some(usage.unwrap_or_else(|| self.counted(platform, ending.output_tokens))),
        };
        let now_s = platform.now_ms() / 1000;
        let handover = begun_by(self.looked.as_deref(), self.nonce(), now_s).filter(|_| joins);
        let telling = self.telling().filter(|_| handover.is_some());
        let alone = match telling {
            Some(telling) => Box::pin(telling.begin(platform)).await,
            None => None,
        };
        let response = self.head.to_json_at(&ending.status, ending.output, usage, Some(now_s));
        let turn = FinishedTurn {
            nonce: self.nonce(),
            input: &self.input,
            output: ending.output,
            tokens: self.input_tokens + ending.output_tokens,
            continuation: &self.continuation,
            joins,
            response: self.head.parameters.store.then_some(&response),
            now_ms: platform.now_ms(),
            renewal_s: self.renewal_s,
            handover: handover.as_ref(),
            listed: self.head.background,
            stream: self.trace.as_deref(),
            also: also(&response),
        };
        let turn = turn.commit(store).await?;
        if let Some(telling) = alone {
            Box::pin(telling.run_alone(store, platform)).await;
        }
        Ok(Committed { response, turn })
    }

    /// The telling of the people of its conversation, if it is in one.
    fn telling(&self) -> Option<Telling> {
        let Continues::Conversation(id) = self.head.continues else { return None };
        Some(Telling { id })
    }
}
