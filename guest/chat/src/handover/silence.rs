//! A turn in a conversation that is handed over: what the user says is kept, and nobody answers.

use super::tell::Telling;
use crate::ask::Course;
use crate::knowledge::{HANDOVER, Looked, unasked};
use crate::platform::Platform;
use waggle_conversation::handover::{By, Handover};
use waggle_openai::metadata::Metadata;
use waggle_openai::{ConversationId, Nonce};

/// What the pair `waggle_answer` of a response's metadata says where people are to answer.
pub(crate) const HANDED_OVER: &str = "handed_over";
const ANSWER_PAIR: &str = "waggle_answer";
/// After so many seconds people who were not told yet are told once more: whoever was to tell them may have died before it
/// was handed to the queue.
const TOLD_S_MAX: u64 = 60;
/// Why a conversation is handed over for whose question nothing was found.
const NOTHING_FOUND: &str = "Nothing was found to answer the user's question from.";

/// The course of a turn that is silent: it says nothing, and nobody is asked.
pub(crate) async fn silence<P: Platform>(platform: &P, id: ConversationId, mark: &Handover) -> Course {
    let now_s = platform.now_ms() / 1000;
    if mark.told_at.is_none() && now_s.saturating_sub(mark.since) >= TOLD_S_MAX {
        let _alone = Telling { id }.begin(platform).await;
    }
    Course::Say(Box::new(unasked(String::new())))
}

/// Says in a response's metadata that nobody answers it.
pub(crate) fn mark_silent(metadata: &mut Metadata) {
    metadata.set(ANSWER_PAIR, HANDED_OVER);
}

/// The hand-over that a turn brings about for which nothing was found, where the tenant wants that.
pub(crate) fn begun_by(looked: Option<&Looked>, id: Nonce, now_s: u64) -> Option<Handover> {
    let begins = looked.is_some_and(|looked| looked.known_as == Some(HANDOVER));
    begins.then(|| Handover::new(id, now_s, By::Knowledge, NOTHING_FOUND))
}
