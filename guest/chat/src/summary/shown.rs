//! What a turn's model sees besides the window, and in place of compaction items.

use super::ask::Aside;
use super::frame::framed;
use super::open::Opener;
use super::run::summarises;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use serde_json::value::RawValue;
use waggle_conversation::Store;
use waggle_conversation::recall::{self, Beyond};
use waggle_conversation::window::Window;
use waggle_model::transport::Upstream;
use waggle_openai::item::RawItem;

/// What comes before a turn's window.
#[derive(Debug, Default)]
pub(crate) struct Recalled(recall::Recalled);

impl Recalled {
    /// The summary as a message, then what is pinned.
    ///
    /// # Errors
    /// A stored item cannot be read.
    pub(crate) fn items(&self) -> serde_json::Result<Vec<RawItem>> {
        let summary = self.0.summary.iter().map(|text| framed(text));
        let pinned = self.0.pinned.iter().map(|item| RawValue::from_string(item.clone()));
        summary.chain(pinned).collect()
    }

    /// An estimate of their tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.0.tokens
    }

    /// What is to be done beside the answer of the turn, whose model this is.
    pub(crate) fn aside(self, model: &str) -> Option<Aside> {
        self.0.behind.map(|behind| Aside { behind, model: model.to_owned() })
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Reads what comes before the window. Where nothing lies beyond it, nothing is done.
    pub(crate) async fn recall(
        &self,
        beyond: Option<Beyond>,
        window: &mut Window,
    ) -> Result<Recalled, Problem> {
        let Some(beyond) = beyond else { return Ok(Recalled::default()) };
        let summarises = summarises(&self.platform).await?;
        Ok(Recalled(recall::recall(&self.store, beyond, window, summarises).await?))
    }
}

/// The items of a turn as its model sees them.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    history: Vec<&'a str>,
    /// What takes the place of compaction items in the history.
    opened: Vec<(usize, RawItem)>,
    /// The whole input, where there are compaction items in it.
    input: Option<Vec<RawItem>>,
}

impl<'a> Shown<'a> {
    /// Opens the compaction items in the history and in the input.
    pub(crate) async fn open<S: Store>(
        opener: &mut Opener<'_, S>,
        history: Vec<&'a str>,
        input: &[RawItem],
    ) -> Result<Self, Problem> {
        let opened = opener.open(history.iter().copied()).await?;
        let in_input = opener.open(input.iter().map(|item| item.get())).await?;
        let input = (!in_input.is_empty()).then(|| {
            let mut shown = input.to_vec();
            for (place, item) in in_input {
                if let Some(shown) = shown.get_mut(place) {
                    *shown = item;
                }
            }
            shown
        });
        Ok(Self { history, opened, input })
    }

    /// What was said before.
    pub(crate) fn history(&self) -> Vec<&str> {
        let mut history: Vec<&str> = self.history.clone();
        for (place, item) in &self.opened {
            if let Some(shown) = history.get_mut(*place) {
                *shown = item.get();
            }
        }
        history
    }

    /// What is said now, of which this is what will be stored.
    pub(crate) fn input<'i>(&'i self, stored: &'i [RawItem]) -> &'i [RawItem] {
        self.input.as_deref().unwrap_or(stored)
    }
}
