//! What is kept of one of Chatwoot's conversations: which session it is, what is still to be done in it, and who is doing it.
//! This is the only writer of the family `channel/chatwoot`.

use serde::{Deserialize, Serialize};
use waggle_conversation::store::SWAPS_MAX;
use waggle_conversation::{Store, StoreError};

/// The most messages of a conversation that wait; further ones are refused.
pub const MESSAGES_WAITING_MAX: usize = 16;
/// So many messages that were seen are known again.
pub const MESSAGES_KNOWN_MAX: usize = 64;

const KEY_PREFIX: &str = "channel/chatwoot/";
const WORK_PREFIX: &str = "/waggle/chatwoot/";

/// One of Chatwoot's conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Chatwoot's number of the account.
    pub(crate) account: u64,
    /// The conversation's number there.
    pub(crate) conversation: u64,
}

impl Place {
    /// The conversation in which something is to be done, if that is what method and path mean.
    pub(crate) fn of_path(method: &str, path: &str) -> Option<Self> {
        let (account, conversation) = path.strip_prefix(WORK_PREFIX)?.split_once('/')?;
        let place = Self { account: account.parse().ok()?, conversation: conversation.parse().ok()? };
        (method == "POST" && place.path() == path).then_some(place)
    }

    /// The path by which the host has it done.
    pub(super) fn path(self) -> String {
        format!("{WORK_PREFIX}{}", self.name('/'))
    }

    fn key(self) -> String {
        format!("{KEY_PREFIX}{}", self.name('/'))
    }

    /// A name for it, for people and for keys.
    pub(super) fn name(self, between: char) -> String {
        format!("{}{between}{}", self.account, self.conversation)
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub(super) enum Deed {
    /// The user said something.
    Said {
        /// Whether the bot is to answer: nobody has taken over.
        pending: bool,
    },
    /// One of Chatwoot's people wrote to the user.
    Wrote,
    /// It was resolved.
    Resolved,
    /// It was opened: people have it.
    Opened,
}

/// Something that happened and that nothing was done about yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Names it among all of the conversation.
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) deed: Deed,
    /// The words, if it has any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Chatwoot's number of the user.
    pub(super) contact: u64,
    /// The session, once something was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
    /// Whether the session is handed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) handed_over: bool,
    /// What is to be done, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) waiting: Vec<Waiting>,
    /// What was done, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) known: Vec<String>,
    /// Until when somebody is doing it who is taken to be alive, in milliseconds since 1970; 0: nobody.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) until_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Whether this has happened before.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.iter().any(|known| known == id) || self.waiting.iter().any(|waiting| waiting.id == id)
    }

    /// Notes that something was done.
    pub(super) fn settle(&mut self, id: &str) {
        self.waiting.retain(|waiting| waiting.id != id);
        self.known.push(id.to_owned());
        let spare = self.known.len().saturating_sub(MESSAGES_KNOWN_MAX);
        self.known.drain(..spare);
    }
}

/// A record as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) record: Record,
    bytes: Option<Vec<u8>>,
}

/// Reads a conversation's record; one that is not there is empty.
///
/// # Errors
/// The store's; it cannot be read.
pub(super) async fn read<S: Store>(store: &S, place: Place) -> Result<Seen, StoreError> {
    let key = place.key();
    let Some(bytes) = store.get(&key).await? else { return Ok(Seen::default()) };
    let record = serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Unreadable { key, reason: error.to_string() })?;
    Ok(Seen { record, bytes: Some(bytes) })
}

/// Changes a conversation's record, by compare-and-set, so that what others change meanwhile stays. `change` says whether
/// anything is to be written; with what it says last.
///
/// # Errors
/// The store's; others changed it again and again.
pub(super) async fn change<S: Store, T>(
    store: &S,
    place: Place,
    mut change: impl FnMut(&mut Record) -> (bool, T),
) -> Result<(Record, T), StoreError> {
    let key = place.key();
    for _ in 0..SWAPS_MAX {
        let Seen { mut record, bytes } = read(store, place).await?;
        let (writes, told) = change(&mut record);
        if !writes {
            return Ok((record, told));
        }
        let value = serde_json::to_vec(&record).map_err(|error| StoreError::Failed {
            operation: "write a channel",
            reason: error.to_string(),
        })?;
        if store.swap(&key, bytes.as_deref(), value).await? {
            return Ok((record, told));
        }
    }
    Err(StoreError::Contended(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_its_own_path_alone() {
        let place = Place { account: 1, conversation: 27 };
        assert_eq!(Place::of_path("POST", &place.path()), Some(place));
        for path in [
            "/waggle/chatwoot/1",
            "/waggle/chatwoot/1/x",
            "/waggle/chatwoot/01/27",
            "/waggle/chatwoot/1/27/3",
        ] {
            assert_eq!(Place::of_path("POST", path), None, "{path}");
        }
        assert_eq!(Place::of_path("GET", &place.path()), None);
    }

    #[test]
    fn the_oldest_of_what_was_done_is_forgotten() {
        let mut record = Record::default();
        for number in 0..=MESSAGES_KNOWN_MAX {
            record.settle(&format!("message-{number}"));
        }
        assert_eq!(record.known.len(), MESSAGES_KNOWN_MAX);
        assert!(!record.knows("message-0") && record.knows("message-1"));
    }
}
