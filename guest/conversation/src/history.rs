//! What came before a turn: read newest first, in pages, until the window is full.

use crate::background::Belonging;
use crate::entries::{PAGE_RECORDS_MAX, Run, fill, page};
use crate::handover::Handover;
use crate::key;
use crate::recall::{Beyond, is_long};
use crate::record::{Known, Lineage, Origin, read_known, read_response};
use crate::store::{Store, StoreError, read_counter};
use crate::ticket::Ticket;
use crate::viewer::{Owner, Viewer};
use crate::window::{Window, WindowLimits};
use waggle_openai::Nonce;

/// What a turn continues, as read from the store.
#[derive(Debug)]
pub struct History {
    /// The turns the model gets to see.
    pub window: Window,
    /// Where the turn goes when it is over.
    pub continuation: Continuation,
    /// What of a conversation lies beyond the window; `None` where nothing does, and for chains.
    pub beyond: Option<Beyond>,
    /// Set where it is a conversation that is handed over to people.
    pub handover: Option<Handover>,
}

/// Where a turn goes when it is over: to something its viewer sees, or to nothing.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// Whose the response will be: the owner of what it continues, whoever continues it, else the viewer. So all that a
    /// chain reaches back to is of one owner.
    pub(crate) owner: Owner,
    /// Its place in the conversation it will be added to.
    pub(crate) ticket: Option<Ticket>,
    /// The lineage for the record of the new response.
    pub(crate) lineage: Lineage,
}

impl Continuation {
    /// Whose the response is, and what it comes after, while it is not over.
    pub fn belonging(&self) -> Belonging {
        Belonging { owner: self.owner.clone(), lineage: self.lineage.clone() }
    }

    /// Whose the response is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The turn's place in its conversation, if it is in one.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.ticket.as_ref()
    }
}

impl History {
    /// The history of a turn that continues nothing.
    pub fn none(viewer: &Viewer, limits: WindowLimits) -> Self {
        let continuation = Continuation { owner: viewer.owner(), ticket: None, lineage: Lineage::default() };
        Self { window: Window::new(limits), continuation, beyond: None, handover: None }
    }
}

/// What a turn would read in a conversation, for those who only look: what continues it joins nothing. A turn goes
/// through [`crate::ticket::enter`]. `None` when there is no such conversation that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn of_conversation<S: Store>(
    store: &S,
    viewer: &Viewer,
    conversation: Nonce,
    limits: WindowLimits,
) -> Result<Option<History>, StoreError> {
    let (key, sequence_key) = (key::conversation(conversation), key::sequence(conversation));
    let mut values = store.get_many(vec![key.clone(), sequence_key.clone()]).await?.into_iter();
    let Some(record) = values.next().flatten() else { return Ok(None) };
    let Some((known, owner)) = read_known(&key, &record)?.open(viewer) else { return Ok(None) };
    let Known { pinned, handover } = known;
    let newest = read_counter(&sequence_key, values.next().flatten().as_deref())?;
    let mut window = Window::new(limits);
    let count = page(&window);
    let mut run = Run::read_with(store, conversation, newest, count, is_long(newest, limits)).await?;
    let summary = run.take_summary();
    let left_out = fill(store, conversation, run, &mut window).await?;
    let beyond = (left_out > 0).then_some(Beyond { conversation, left_out, pinned, summary });
    let continuation = Continuation { owner, ticket: None, lineage: Lineage::default() };
    Ok(Some(History { window, continuation, beyond, handover }))
}

/// The history of a turn that continues the response `parent`; `None` when there is none that the viewer sees, or
/// when it is not over.
///
/// # Errors
/// The store's.
pub async fn of_response<S: Store>(
    store: &S,
    viewer: &Viewer,
    parent: Nonce,
    limits: WindowLimits,
) -> Result<Option<History>, StoreError> {
    let key = key::response(parent);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    let Some(((turn, lineage, pending), owner)) = read_response(&key, value)?.open(viewer) else {
        return Ok(None);
    };
    if pending {
        return Ok(None);
    }
    let mut window = Window::new(limits);
    window.offer(turn);
    for ancestors in lineage.ancestors.chunks(PAGE_RECORDS_MAX) {
        let ancestors = ancestors.get(..window.items_left().min(ancestors.len())).unwrap_or_default();
        if ancestors.is_empty() {
            break;
        }
        let keys: Vec<String> = ancestors.iter().map(|nonce| key::response(*nonce)).collect();
        let values = store.get_many(keys.clone()).await?;
        for (key, value) in keys.iter().zip(values) {
            // An ancestor that was deleted is left out; those before it are still there.
            let Some(value) = value else { continue };
            if let Some(((turn, ..), _)) = read_response(key, value)?.open(viewer) {
                window.offer(turn);
            }
        }
    }
    // The conversation has the owner of the response that stands in it, which the viewer sees.
    if let Some(Origin { conversation, sequence }) = lineage.origin {
        let run = Run::read(store, conversation, sequence.saturating_sub(1), page(&window)).await?;
        fill(store, conversation, run, &mut window).await?;
    }
    let lineage = Lineage::continuing(parent, lineage);
    let continuation = Continuation { owner, ticket: None, lineage };
    Ok(Some(History { window, continuation, beyond: None, handover: None }))
}
