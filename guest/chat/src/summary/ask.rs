//! Asking for a summary, after a turn: noted by compare-and-set, so that of many turns one asks, and handed to the host.

use crate::platform::{Platform, QueueFailure};
use std::sync::atomic::{AtomicBool, Ordering};
use waggle_conversation::Store;
use waggle_conversation::summary::{Asking, Behind, ask};
use waggle_openai::{ConversationId, Nonce};

/// Whether this instance has said that nobody here takes work.
static SAID_ABSENT: AtomicBool = AtomicBool::new(false);

/// What is to be done beside a turn's answer: its conversation's summary lacks something.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(super) behind: Behind,
    /// The model of the turn.
    pub(super) model: String,
}

impl Aside {
    /// Asks for the summary, before the turn's answer has ended: with its request end the calls of it. A failure is told to
    /// the operator; later turns ask again.
    pub(crate) async fn run<S: Store, P: Platform>(self, store: &S, platform: &P) {
        let id = ConversationId(self.behind.conversation());
        let now_ms = platform.now_ms();
        let stamp = Nonce::mint(now_ms, platform.random());
        match ask(store, &self.behind, Asking { stamp, now_ms, model: &self.model }).await {
            Ok(true) => hand_over(platform, id).await,
            Ok(false) => {}
            Err(error) => platform.log(&format!("conversation={id} no summary was asked for: {error}")),
        }
    }
}

/// Hands the making of the summary to the host's queue.
pub(super) async fn hand_over<P: Platform>(platform: &P, id: ConversationId) {
    let reason = match platform.enqueue(&format!("/v1/conversations/{id}/summarize")).await {
        Ok(()) => return,
        Err(QueueFailure::Absent) => {
            if !SAID_ABSENT.swap(true, Ordering::Relaxed) {
                platform.log("conversations are not summarised: this host has no queue for work");
            }
            return;
        }
        Err(QueueFailure::Full(_)) => "it is full".to_owned(),
        Err(QueueFailure::Busy(_)) => "it is busy".to_owned(),
        Err(QueueFailure::Failed(reason)) => reason,
    };
    platform.log(&format!("conversation={id} not summarised now: the host's work queue: {reason}"));
}
