//! The endpoints of `/v1/conversations`.

use crate::handover::mark;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::Service;
use crate::settings::{MODEL_VARIABLE, Settings, text};
use crate::summary::Opener;
use crate::tokens::count_items;
use waggle_conversation::conversation::{self, Conversation, NewItems};
use waggle_conversation::pin::{self, PINS_MAX, Pinned};
use waggle_conversation::record::ConversationRecord;
use waggle_conversation::{Store, Viewer, items};
use waggle_model::transport::Upstream;
use waggle_openai::conversation::{ConversationBody, deleted_json, to_json};
use waggle_openai::item::{Item, RawItem, to_raw_items};
use waggle_openai::list::{self, PageQuery};
use waggle_openai::{ApiError, ConversationId, ItemId, Nonce};

/// All that is pinned may have such a part of the window's tokens.
const PINNED_PART_OF_WINDOW: u64 = 4;

fn conversation_not_found(id: ConversationId) -> Problem {
    ApiError::not_found("Conversation", &id.to_string()).into()
}

fn reply(id: ConversationId, record: &ConversationRecord) -> Reply {
    let pinned = record.pinned.iter().map(|pin| &*pin.id);
    let handover = record.handover.as_ref().map(mark);
    Reply::json(to_json(id, record.created_at, &record.metadata, pinned, handover))
}

fn item_not_found(item: ItemId) -> Problem {
    ApiError::not_found("Item", &item.to_string()).into()
}

/// Items made ready to be stored under a new nonce.
struct Fresh {
    nonce: Nonce,
    items: Vec<RawItem>,
    tokens: u64,
}

impl Fresh {
    /// Which model will read them, nobody knows, so their tokens are counted as the model does that is asked when none is
    /// named.
    async fn new<P: Platform>(platform: &P, nonce: Nonce, items: &[Item<'_>]) -> Result<Self, Problem> {
        let model = text(platform, MODEL_VARIABLE, "").await?;
        let tokens = count_items(platform, &model, items);
        Ok(Self { nonce, items: to_raw_items(items, nonce, 0)?, tokens })
    }

    fn as_new(&self) -> NewItems<'_> {
        NewItems { nonce: self.nonce, items: &self.items, tokens: self.tokens }
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) fn nonce(&self) -> Nonce {
        Nonce::mint(self.platform.now_ms(), self.platform.random())
    }

    pub(crate) async fn conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<Conversation, Problem> {
        let conversation = conversation::open(&self.store, viewer, id.0).await?;
        conversation.ok_or_else(|| conversation_not_found(id))
    }

    pub(crate) async fn create_conversation(&self, viewer: &Viewer, body: &[u8]) -> Result<Reply, Problem> {
        let body = ConversationBody::read_create(body)?;
        Opener::new(&self.store).check(viewer, "items", &body.items, &[]).await?;
        let id = ConversationId(self.nonce());
        let fresh = Fresh::new(&self.platform, self.nonce(), &body.items).await?;
        let metadata = body.metadata.unwrap_or_default();
        let now_s = self.platform.now_ms() / 1000;
        let record = conversation::record(now_s, now_s, &metadata)?;
        conversation::create(&self.store, viewer, id.0, &record, fresh.as_new()).await?;
        Ok(reply(id, &record))
    }

    pub(crate) async fn get_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        Ok(reply(id, conversation.record()))
    }

    pub(crate) async fn update_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        body: &[u8],
    ) -> Result<Reply, Problem> {
        let metadata = ConversationBody::read_update(body)?;
        let conversation = self.conversation(viewer, id).await?;
        let now_s = self.platform.now_ms() / 1000;
        let record = conversation::record(conversation.record().created_at, now_s, &metadata)?;
        let ConversationRecord { pinned, handover, .. } = conversation.record().clone();
        let record = ConversationRecord { pinned, handover, ..record };
        conversation::put(&self.store, &conversation, &record).await?;
        Ok(reply(id, &record))
    }

    pub(crate) async fn delete_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<Reply, Problem> {
        if !conversation::delete(&self.store, viewer, id.0).await? {
            return Err(conversation_not_found(id));
        }
        Ok(Reply::json(deleted_json(id, "conversation.deleted")))
    }

    pub(crate) async fn list_items(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        query: &str,
    ) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let conversation = self.conversation(viewer, id).await?;
        let page = items::page(&self.store, &conversation, query).await?;
        Ok(Reply::json(list::to_json(&page.items, page.has_more)))
    }

    pub(crate) async fn add_items(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        body: &[u8],
    ) -> Result<Reply, Problem> {
        let items = ConversationBody::read_add(body)?;
        Opener::new(&self.store).check(viewer, "items", &items, &[]).await?;
        let conversation = self.conversation(viewer, id).await?;
        let fresh = Fresh::new(&self.platform, self.nonce(), &items).await?;
        conversation::add(&self.store, &conversation, fresh.as_new()).await?;
        Ok(Reply::json(list::to_json(&fresh.items, false)))
    }

    pub(crate) async fn get_item(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        item: ItemId,
    ) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        self.item(&conversation, item).await
    }

    async fn item(&self, conversation: &Conversation, item: ItemId) -> Result<Reply, Problem> {
        let found = items::get(&self.store, conversation, item).await?;
        let found = found.ok_or_else(|| item_not_found(item))?;
        Ok(Reply::json(found.get().as_bytes().to_vec()))
    }

    pub(crate) async fn delete_item(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        item: ItemId,
    ) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        if !items::delete(&self.store, &conversation, item, self.nonce()).await? {
            return Err(item_not_found(item));
        }
        let mut record = conversation.record().clone();
        record.pinned.retain(|pin| pin.id != item.to_string());
        Ok(reply(id, &record))
    }

    pub(crate) async fn pin_item(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        item: ItemId,
    ) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        let window = Settings::read(&self.platform).await?.window;
        let tokens_max = window.tokens_max / PINNED_PART_OF_WINDOW;
        let refused = |code, message: String| ApiError::invalid_param("item_id", code, message).into();
        match pin::pin(&self.store, &conversation, item, tokens_max).await? {
            Pinned::Done(item) => Ok(Reply::json(item.get().as_bytes().to_vec())),
            Pinned::Unknown => Err(item_not_found(item)),
            Pinned::NoMessage => {
                Err(refused("item_not_pinnable", "Only messages that models see can be pinned.".to_owned()))
            }
            Pinned::TooMany => {
                let message =
                    format!("There are {PINS_MAX} pinned items in this conversation, and no more can be.");
                Err(refused("too_many_pinned_items", message))
            }
            Pinned::TooLong => {
                let message = format!(
                    "All that is pinned may have {tokens_max} tokens, a part of the window, and would have more with this \
                     item."
                );
                Err(refused("pinned_items_too_long", message))
            }
        }
    }

    pub(crate) async fn unpin_item(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        item: ItemId,
    ) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        // Also where the item is gone, so that no pin stays that nobody can take off.
        pin::unpin(&self.store, &conversation, item).await?;
        self.item(&conversation, item).await
    }
}
