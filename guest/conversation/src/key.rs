//! The keys of the function's two families, built here and nowhere else.

use waggle_openai::Nonce;

/// A stored response: its object, its input, its ancestors.
pub fn response(response: Nonce) -> String {
    format!("response/{response}")
}

/// A conversation: when it was made, and its metadata.
pub fn conversation(conversation: Nonce) -> String {
    format!("conversation/{conversation}")
}

/// The number of the conversation's newest entry.
pub fn sequence(conversation: Nonce) -> String {
    format!("conversation/{conversation}/sequence")
}

/// An entry: the items of one commit. Keys sort by number.
pub fn entry(conversation: Nonce, sequence: u64) -> String {
    format!("conversation/{conversation}/entry/{sequence:012}")
}

/// From the nonce of a commit, which its items' ids carry, to the number of its entry.
pub fn turn(conversation: Nonce, turn: Nonce) -> String {
    format!("conversation/{conversation}/turn/{turn}")
}
