//! The keys of the function's families, built here and nowhere else.

use waggle_openai::{Digits, Nonce};

/// A stored response: its object, its input, its ancestors.
pub(crate) fn response(response: Nonce) -> String {
    ["response/", response.as_str()].concat()
}

/// The request body of a background response that is not over.
pub(crate) fn request(response: Nonce) -> String {
    ["response/", response.as_str(), "/request"].concat()
}

/// How far a background response has come.
pub(crate) fn state(response: Nonce) -> String {
    ["response/", response.as_str(), "/state"].concat()
}

/// A batch of a background response's events. Keys sort by number.
pub(crate) fn events(response: Nonce, number: u64) -> String {
    ["response/", response.as_str(), "/events/", Digits::new(number, 6).as_str()].concat()
}

/// A record of the run that makes a response. Keys sort by number.
pub(crate) fn run(response: Nonce, number: u64) -> String {
    ["run/", response.as_str(), "/", Digits::new(number, 6).as_str()].concat()
}

/// What was decided of the questions that a response has asked.
pub(crate) fn approvals(response: Nonce) -> String {
    ["approval/", response.as_str()].concat()
}

/// A conversation: when it was made, and its metadata.
pub(crate) fn conversation(conversation: Nonce) -> String {
    ["conversation/", conversation.as_str()].concat()
}

/// The number of the conversation's newest entry.
pub(crate) fn sequence(conversation: Nonce) -> String {
    ["conversation/", conversation.as_str(), "/sequence"].concat()
}

/// An entry: the items of one commit. Keys sort by number.
pub(crate) fn entry(conversation: Nonce, sequence: u64) -> String {
    ["conversation/", conversation.as_str(), "/entry/", Digits::new(sequence, 12).as_str()].concat()
}

/// What stands for the oldest part of a conversation, which its window does not reach.
pub(crate) fn summary(conversation: Nonce) -> String {
    ["conversation/", conversation.as_str(), "/summary"].concat()
}

/// What the conversation remembers of its last intent.
pub(crate) fn intent(conversation: Nonce) -> String {
    ["intent/", conversation.as_str()].concat()
}

/// What this tenant's compaction items are sealed with.
pub(crate) const COMPACTION_KEY: &str = "compaction/key";

/// From the nonce of a commit, which its items' ids carry, to the number of its entry.
pub(crate) fn turn(conversation: Nonce, turn: Nonce) -> String {
    ["conversation/", conversation.as_str(), "/turn/", turn.as_str()].concat()
}

/// What was done under a caller's key, which is a part of `hash`.
pub(crate) fn idempotency(hash: &str) -> String {
    format!("idempotency/{hash}")
}

/// The number of the newest thing of an owner; `owner` is the hash of their name.
pub(crate) fn owner_sequence(owner: &str) -> String {
    format!("owner/{owner}/sequence")
}

/// What an owner has under that number.
pub(crate) fn owner_entry(owner: &str, number: u64) -> String {
    format!("owner/{owner}/entry/{number:012}")
}

/// The number up to which all that an owner had was erased.
pub(crate) fn owner_floor(owner: &str) -> String {
    format!("owner/{owner}/floor")
}
