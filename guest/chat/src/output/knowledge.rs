//! What was looked up for a turn, in its output: the item that tells of it comes first, and what the answer cites of it is
//! found in its texts.

use super::{Output, unwritable};
use crate::knowledge::{Citing, Looked};
use crate::piece::Kind;
use waggle_model::ModelFailure;
use waggle_model::responses::{Answer, DeltaKind, OutputItem};
use waggle_openai::item::{Citation, HostedCall, HostedKind, Item, ItemStatus, LogProb, Part};

/// How far a search comes, as clients hear it.
const STAGES: [&str; 3] = [
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
];
/// A search that begins.
const BEGUN: &str = "{\"status\":\"in_progress\",\"queries\":[]}";

impl Output {
    /// Begins with what was looked up. What the answer cites of it is found from then on.
    pub(crate) fn begin_with(&mut self, looked: &Looked) -> Result<(), ModelFailure> {
        self.unless_told(|output| output.tell_search(&looked.call))?;
        self.citing = looked.sources.clone().map(|sources| Box::new(Citing::new(sources)));
        Ok(())
    }

    /// Adds the item that tells of a search, and all that is told of how far it has come.
    pub(crate) fn tell_search(&mut self, call: &HostedCall<'static>) -> Result<(), ModelFailure> {
        self.grow(call.members().len())?;
        let begun = HostedCall::read(HostedKind::FileSearch, BEGUN).map_err(unwritable)?;
        self.open(Item::Hosted(begun), None).map_err(unwritable)?;
        let at = self.pieces.len().saturating_sub(1);
        let place = self.place(at);
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            for stage in STAGES {
                events.file_search(stage, place);
            }
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.item = Item::Hosted(call.clone());
        }
        self.close(at, ItemStatus::Completed).map_err(unwritable)?;
        self.before = self.pieces.len();
        Ok(())
    }

    /// Says a whole text, and what it cites: as the endpoint has it, or of what was looked up.
    pub(super) fn say_text(
        &mut self,
        text: &str,
        logprobs: Vec<LogProb>,
        annotations: Vec<Citation>,
    ) -> serde_json::Result<()> {
        let Some(citing) = &mut self.citing else {
            self.say(Kind::Text, text, logprobs)?;
            self.cite(annotations);
            return Ok(());
        };
        let (mut found, rest) = (citing.feed(text), citing.end());
        found.text.push_str(&rest.text);
        found.citations.extend(rest.citations);
        self.say(Kind::Text, &found.text, logprobs)?;
        self.cite(found.citations);
        Ok(())
    }

    /// Takes a piece of a text.
    pub(super) fn hear_text(&mut self, text: &str, logprobs: Vec<LogProb>) -> Result<(), ModelFailure> {
        let Some(citing) = &mut self.citing else { return self.hear(Kind::Text, text, logprobs) };
        let found = citing.feed(text);
        if !found.text.is_empty() || !logprobs.is_empty() {
            self.hear(Kind::Text, &found.text, logprobs)?;
        }
        self.cite(found.citations);
        Ok(())
    }

    /// Says what was held back of a text that has ended.
    pub(super) fn end_heard_text(&mut self) -> serde_json::Result<()> {
        let Some(citing) = &mut self.citing else { return Ok(()) };
        let found = citing.end();
        if !found.text.is_empty() {
            self.say(Kind::Text, &found.text, Vec::new())?;
            self.trace.push(self.pieces.len().saturating_sub(1), found.text.len());
        }
        self.cite(found.citations);
        Ok(())
    }

    /// Takes a piece of a text of a model that adds its items itself.
    pub(super) fn text_delta(
        &mut self,
        at: usize,
        part: usize,
        delta: &str,
        logprobs: Vec<LogProb>,
    ) -> Result<(), ModelFailure> {
        let Some(citing) = &mut self.citing else {
            return self.delta(at, part, DeltaKind::Text, delta, logprobs);
        };
        if let Some((before, rest)) = citing.leave_part(at, part) {
            self.delta(at, before, DeltaKind::Text, &rest.text, Vec::new())?;
            self.cite_all(at, rest.citations)?;
        }
        let Some(citing) = &mut self.citing else { return Ok(()) };
        let found = citing.feed_part(at, part, delta);
        self.delta(at, part, DeltaKind::Text, &found.text, logprobs)?;
        self.cite_all(at, found.citations)
    }

    fn cite_all(&mut self, at: usize, citations: Vec<Citation>) -> Result<(), ModelFailure> {
        citations.into_iter().try_for_each(|citation| self.cited(at, citation))
    }

    /// An item of the model's as it ended, with what its texts cite.
    pub(super) fn cited_item(&mut self, at: usize, item: OutputItem) -> OutputItem {
        match &mut self.citing {
            Some(citing) => citing.whole(at, item),
            None => item,
        }
    }

    /// A whole answer of a model that adds its items itself, with what its texts cite.
    pub(super) fn cited_answer(&mut self, answer: Answer) -> Answer {
        match &mut self.citing {
            Some(citing) => citing.whole_answer(answer),
            None => answer,
        }
    }

    /// The answer with the numbers by which it cites, if it is one to be kept: one text and nothing besides but thoughts,
    /// whole, that cites something.
    pub(crate) fn kept_answer(&mut self) -> Option<String> {
        let said = self.pieces.get(self.before..)?;
        let mut spoken = said.iter().filter(|piece| !piece.takes(Kind::Reasoning));
        let (Some(only), None) = (spoken.next(), spoken.next()) else { return None };
        let [Part::Text(text)] = only.parts() else { return None };
        let is_whole = only.status == ItemStatus::Completed && matches!(only.item, Item::Message { .. });
        if !is_whole || text.annotations.is_empty() {
            return None;
        }
        self.citing.as_mut()?.take_said()
    }
}
