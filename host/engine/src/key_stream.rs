//! The keys of a store as a stream: a page is read when the guest wants it, so an unread stream holds nothing.

use crate::key_value::{KEYS_LISTED_MAX, KEYS_PAGE, Listing, told};
use crate::world::StoreHandle;
use futures::channel::oneshot;
use std::pin::Pin;
use std::task::{Context, Poll};
use waggle_kv::KeyPage;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult, VecBuffer};

type Fetch = Pin<Box<dyn Future<Output = Result<KeyPage, waggle_kv::Error>> + Send>>;

/// What comes of a listing once it has ended: nothing, or what went wrong.
pub(crate) type Outcome = Result<(), String>;

/// Produces the keys, page by page.
pub(crate) struct KeyStream {
    listing: Listing,
    cursor: Option<String>,
    listed: usize,
    fetch: Option<Fetch>,
    /// Told once, at the end.
    outcome: Option<oneshot::Sender<Outcome>>,
}

impl KeyStream {
    /// The keys of a store, and what will be told when they have ended.
    pub(crate) fn new(listing: Listing) -> (Self, oneshot::Receiver<Outcome>) {
        let (outcome, told) = oneshot::channel();
        (Self { listing, cursor: None, listed: 0, fetch: None, outcome: Some(outcome) }, told)
    }

    fn next_page(&self) -> Fetch {
        let (StoreHandle { store, partition }, cursor) = (self.listing.handle.clone(), self.cursor.clone());
        let traced = self.listing.page();
        Box::pin(async move { traced.end(store.keys(&partition, "", cursor.as_deref(), KEYS_PAGE).await) })
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(sender) = self.outcome.take() {
            // A guest that has dropped its end does not want to know.
            let _ = sender.send(outcome);
        }
    }
}

impl<D> StreamProducer<D> for KeyStream {
    type Item = String;
    type Buffer = VecBuffer<String>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        loop {
            if self.listed > 0 && self.cursor.is_none() && self.fetch.is_none() {
                self.end(Ok(()));
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
            let mut fetch = match self.fetch.take() {
                Some(fetch) => fetch,
                None => self.next_page(),
            };
            let Poll::Ready(page) = fetch.as_mut().poll(cx) else {
                self.fetch = Some(fetch);
                return if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending };
            };
            let KeyPage { keys, cursor } = match page {
                Ok(page) => page,
                Err(error) => {
                    self.end(Err(told(&error)));
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
            };
            self.listed += keys.len();
            let is_last = cursor.is_none();
            self.cursor = cursor;
            if self.listed > KEYS_LISTED_MAX {
                self.end(Err(crate::key_value::too_many_keys()));
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
            match (keys.is_empty(), is_last) {
                (true, true) => {
                    self.end(Ok(()));
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                // A page can be empty and still have a next one.
                (true, false) => {}
                (false, _) => {
                    destination.set_buffer(VecBuffer::from(keys));
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
            }
        }
    }
}

impl Drop for KeyStream {
    /// A guest that does not read on has what it wanted.
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}
