//! Compaction items, opened for the model. Where there are none, nothing is read.

use super::frame::compacted;
use crate::problem::Problem;
use waggle_conversation::compaction::{CompactionKey, key};
use waggle_conversation::{Store, StoreError, Viewer};
use waggle_openai::ApiError;
use waggle_openai::item::{Item, RawItem, estimate_tokens};
use waggle_openai::request::Reference;

/// How a stored compaction item begins.
const STORED: &str = "{\"id\":\"cmp_";

/// Opens items, and reads the key for that once.
#[derive(Debug)]
pub(crate) struct Opener<'a, S> {
    store: &'a S,
    key: Option<Option<CompactionKey>>,
}

/// 400: the item was not made here, not for this caller, or is damaged.
fn unreadable(param: String) -> ApiError {
    let message = format!(
        "Invalid '{param}': its 'encrypted_content' cannot be opened. Send it as POST /v1/responses/compact returned it, for \
         the same user."
    );
    ApiError::invalid_param(param, "invalid_encrypted_content", message)
}

impl<'a, S: Store> Opener<'a, S> {
    pub(crate) fn new(store: &'a S) -> Self {
        Self { store, key: None }
    }

    async fn key(&mut self) -> Result<Option<&CompactionKey>, StoreError> {
        if self.key.is_none() {
            self.key = Some(key(self.store).await?);
        }
        Ok(self.key.as_ref().and_then(Option::as_ref))
    }

    /// Checks the compaction items that a caller sends in the field `field`, where `references` stood among them. Returns an
    /// estimate of the tokens of what they hold.
    ///
    /// # Errors
    /// 400 naming the one that cannot be opened; the store's.
    pub(crate) async fn check(
        &mut self,
        viewer: &Viewer,
        field: &str,
        items: &[Item<'_>],
        references: &[Reference<'_>],
    ) -> Result<u64, Problem> {
        let mut tokens = 0;
        for (index, item) in items.iter().enumerate() {
            let Item::Compaction { encrypted_content } = item else { continue };
            let key = self.key().await?;
            let Some(text) = key.and_then(|key| key.open(Some(viewer), encrypted_content)) else {
                let place =
                    references.iter().fold(index, |place, other| place + usize::from(other.place <= place));
                return Err(unreadable(format!("{field}[{place}]")).into());
            };
            tokens += estimate_tokens(&text);
        }
        Ok(tokens)
    }

    /// What takes the place of compaction items among `items`, all of which are stored or were checked: their places, and
    /// the messages that models see. One that cannot be opened any more stays, and no model sees it.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn open(
        &mut self,
        items: impl Iterator<Item = &str>,
    ) -> Result<Vec<(usize, RawItem)>, Problem> {
        let mut opened = Vec::new();
        for (place, item) in items.enumerate().filter(|(_, item)| item.starts_with(STORED)) {
            let Ok(Item::Compaction { encrypted_content }) = serde_json::from_str(item) else { continue };
            let text = self.key().await?.and_then(|key| key.open(None, &encrypted_content));
            if let Some(text) = text {
                opened.push((place, compacted(&text)?));
            }
        }
        Ok(opened)
    }
}
