//! From what was said to what is meant, and what to ask for.

use crate::catalogue::{Catalogue, Intent, UNKNOWN};
use crate::date::Day;
use crate::decide::{Decision, Open, at_once, by_likeness};
use crate::failure::IntentFailure;
use crate::fill::{by_form, by_model, missing};
use crate::lexical;
use crate::memory::{Memory, Vectors};
use crate::nearest::{Ranked, rank};
use crate::prompt;
use crate::settings::{IntentSettings, Mode};
use crate::state::Record;
use crate::wire::{Alternative, By, Guidance, Recognition, TurnRecognition};
use serde_json::{Map, Value};
use std::rc::Rc;
use waggle_conversation::Store;
use waggle_model::transport::Upstream;
use waggle_openai::Nonce;
use waggle_platform::Platform;
use waggle_search::small_model::{SmallModel, Task};
use waggle_search::{Embedder, EmbeddingModel, Language};

/// The variable with the model that is asked; without it, the small tier's, or that of turns.
const MODEL_VARIABLE: &str = "intent_model";
/// How many characters of what was said are compared.
const CHARACTERS_MAX: usize = 2_000;
/// How many other intents are told.
const ALTERNATIVES_MAX: usize = 3;
/// How often a slot is asked for in a row.
const ASKED_MAX: u32 = 2;

/// What was said.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The words.
    pub text: &'a str,
    /// The conversation they were said in, which its caller has found to be one that may be read.
    pub conversation: Option<Nonce>,
    /// The language of questions; without it, that of the words.
    pub language: Option<Language>,
    /// A name of the turn.
    pub turn: Option<&'a str>,
}

/// What recognises intents.
#[derive(Debug)]
pub struct Recogniser<'a, S, U, P> {
    /// Where conversations' records and vectors are.
    pub store: &'a S,
    /// How models are reached.
    pub upstream: &'a U,
    /// The clock and the log.
    pub platform: &'a P,
    /// How it is done.
    pub settings: &'a IntentSettings,
    /// What the instance remembers.
    pub memory: &'a Memory,
}

/// What was found by comparing.
struct Compared {
    by: By,
    ranked: Vec<Ranked>,
}

/// A turn that is being recognised.
struct Turn<'t> {
    said: Said<'t>,
    text: &'t str,
    today: Day,
    language: Language,
    record: Option<Record>,
}

/// An intent that is meant, and what is known of it.
struct Meant {
    intent: usize,
    confidence: f64,
    by: By,
    slots: Map<String, Value>,
    /// The slot whose answer was none, and how often it was asked for by now.
    asked_before: Option<(String, u32)>,
    /// Whether a model may find more than stands there by its form.
    may_hold_more: bool,
}

fn beginning(text: &str) -> &str {
    text.char_indices().nth(CHARACTERS_MAX).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn round(confidence: f64) -> f64 {
    (confidence * 1000.0).round() / 1000.0
}

fn unknown(by: By, confidence: f64, alternatives: Vec<Alternative>) -> TurnRecognition {
    let recognition = Recognition {
        object: "intent".to_owned(),
        name: UNKNOWN.to_owned(),
        confidence: round(confidence),
        by,
        alternatives,
        slots: Map::new(),
        missing: Vec::new(),
        question: None,
    };
    TurnRecognition { recognition, guidance: None }
}

/// The surest intents but the one that is meant.
fn alternatives(catalogue: &Catalogue, ranked: &[Ranked], meant: Option<usize>) -> Vec<Alternative> {
    let others = ranked.iter().filter(|one| Some(one.intent) != meant).take(ALTERNATIVES_MAX);
    let told = others.filter_map(|one| {
        let intent = catalogue.intents().get(one.intent)?;
        Some(Alternative { name: intent.name.clone(), confidence: round(one.confidence) })
    });
    told.collect()
}

/// The surest intent, if it is sure enough.
fn best(catalogue: &Catalogue, ranked: &[Ranked]) -> Option<Ranked> {
    let first = ranked.first()?;
    let threshold = catalogue.intents().get(first.intent)?.threshold;
    (first.confidence >= threshold).then_some(*first)
}

impl<S: Store, U: Upstream, P: Platform> Recogniser<'_, S, U, P> {
    /// What is meant. In a conversation, what was asked before is answered by it, and what is asked now is remembered.
    ///
    /// # Errors
    /// The settings or the intents are wrong; a model or the store failed.
    pub async fn recognise(&self, said: Said<'_>) -> Result<TurnRecognition, IntentFailure> {
        let catalogue = self.memory.catalogue(&self.settings.intents)?;
        if self.settings.mode == Mode::Off || catalogue.intents().is_empty() {
            return Ok(unknown(By::Nothing, 0.0, Vec::new()));
        }
        let record = match said.conversation {
            Some(conversation) => Record::load(self.store, conversation).await?,
            None => None,
        };
        if let Some(answer) = record.as_ref().and_then(|record| record.answer_to(said.turn)) {
            return Ok(answer.clone());
        }
        let text = beginning(said.text);
        let turn = Turn {
            said,
            text,
            today: Day::of_ms(self.platform.now_ms()),
            language: said.language.unwrap_or_else(|| Language::of(text)),
            record,
        };
        self.decide(&catalogue, turn).await
    }

    async fn decide(
        &self,
        catalogue: &Rc<Catalogue>,
        turn: Turn<'_>,
    ) -> Result<TurnRecognition, IntentFailure> {
        let now_s = self.platform.now_ms() / 1000;
        let open = turn.record.as_ref().and_then(|record| {
            let (intent, found) = catalogue.find(&record.intent)?;
            Some(Open { intent, slot: found.slot(record.open(now_s)?)? })
        });
        let by_words =
            lexical::find(catalogue, turn.text).map(|(intent, confidence)| Ranked { intent, confidence });
        let mut compared = Compared { by: By::Words, ranked: by_words.into_iter().collect() };
        let decision = match at_once(open, turn.text, by_words, turn.today) {
            Some(decision) => decision,
            None => {
                compared = self.compare(catalogue, turn.text).await?;
                by_likeness(open, turn.text, best(catalogue, &compared.ranked), turn.today)
            }
        };
        let meant = match (decision, &turn.record, open) {
            (Decision::Begin(ranked), ..) => Meant {
                intent: ranked.intent,
                confidence: ranked.confidence,
                by: compared.by,
                slots: Map::new(),
                asked_before: None,
                may_hold_more: true,
            },
            (Decision::Answer(value), Some(record), Some(open)) => {
                let mut slots = record.slots.clone();
                slots.insert(open.slot.name.clone(), value);
                self.going_on(record, open, slots, false)
            }
            (Decision::Again, Some(record), Some(open)) => {
                self.going_on(record, open, record.slots.clone(), true)
            }
            (decision, record, _) => {
                return self
                    .none_meant(
                        catalogue,
                        &compared,
                        &turn,
                        record.as_ref().filter(|_| decision == Decision::Leave),
                    )
                    .await;
            }
        };
        self.meant(catalogue, &compared, turn, meant).await
    }

    fn going_on(&self, record: &Record, open: Open<'_>, slots: Map<String, Value>, in_vain: bool) -> Meant {
        Meant {
            intent: open.intent,
            confidence: record.confidence,
            by: By::Conversation,
            slots,
            asked_before: in_vain.then(|| (open.slot.name.clone(), record.times)),
            may_hold_more: in_vain,
        }
    }

    /// Nothing is meant. What was asked is forgotten where somebody `left` it.
    async fn none_meant(
        &self,
        catalogue: &Catalogue,
        compared: &Compared,
        turn: &Turn<'_>,
        left: Option<&Record>,
    ) -> Result<TurnRecognition, IntentFailure> {
        let sure = compared.ranked.first().map_or(0.0, |first| first.confidence);
        let answer = unknown(compared.by, sure, alternatives(catalogue, &compared.ranked, None));
        if let (Some(record), Some(conversation)) = (left, turn.said.conversation) {
            let closed = Record {
                asked: None,
                slots: Map::new(),
                turn: turn.said.turn.map(str::to_owned),
                answer: Some(answer.clone()),
                ..record.clone()
            };
            closed.save(self.store, conversation).await?;
        }
        Ok(answer)
    }

    async fn meant(
        &self,
        catalogue: &Catalogue,
        compared: &Compared,
        turn: Turn<'_>,
        mut meant: Meant,
    ) -> Result<TurnRecognition, IntentFailure> {
        let Some(intent) = catalogue.intents().get(meant.intent) else {
            return Ok(unknown(compared.by, 0.0, Vec::new()));
        };
        by_form(intent, turn.text, &mut meant.slots, turn.today);
        if meant.may_hold_more && !missing(intent, &meant.slots).is_empty() {
            self.extract(intent, &turn, &mut meant).await?;
        }
        let missing = missing(intent, &meant.slots);
        let first = missing.first().copied();
        let times = match (&meant.asked_before, first) {
            (Some((name, times)), Some(slot)) if *name == slot.name => times + 1,
            _ => 1,
        };
        let asked = first.filter(|_| times <= ASKED_MAX);
        let recognition = Recognition {
            object: "intent".to_owned(),
            name: intent.name.clone(),
            confidence: round(meant.confidence),
            by: meant.by,
            alternatives: alternatives(catalogue, &compared.ranked, Some(meant.intent)),
            slots: meant.slots.clone(),
            missing: missing.iter().map(|slot| slot.name.clone()).collect(),
            question: asked.map(|slot| slot.question(turn.language)),
        };
        let answer = TurnRecognition { recognition, guidance: Some(guidance(intent)) };
        let had_record = turn.record.is_some();
        if let Some(conversation) = turn.said.conversation.filter(|_| had_record || !intent.slots.is_empty())
        {
            let record = Record {
                intent: intent.name.clone(),
                confidence: meant.confidence,
                slots: meant.slots,
                asked: asked.map(|slot| slot.name.clone()),
                times,
                turn: turn.said.turn.map(str::to_owned),
                answer: Some(answer.clone()),
                at: self.platform.now_ms() / 1000,
            };
            record.save(self.store, conversation).await?;
        }
        Ok(answer)
    }

    /// Has a small model look for values that do not show by their form. Without one, they are asked for.
    async fn extract(
        &self,
        intent: &Intent,
        turn: &Turn<'_>,
        meant: &mut Meant,
    ) -> Result<(), IntentFailure> {
        if self.settings.mode == Mode::Embedding {
            return Ok(());
        }
        let Some(model) = self.small_model().await? else { return Ok(()) };
        let wanted: Vec<_> =
            intent.slots.iter().filter(|slot| !meant.slots.contains_key(&slot.name)).collect();
        let asked = meant.asked_before.as_ref().and_then(|(name, _)| intent.slot(name));
        let asked = asked.map(|slot| slot.question(turn.language));
        let task = Task {
            instructions: prompt::EXTRACT,
            material: prompt::fields(&wanted, asked.as_deref(), turn.text),
            format: prompt::fields_format(&wanted),
            output_tokens_max: prompt::OUTPUT_TOKENS_MAX,
        };
        match model.write(self.upstream, task).await.and_then(|written| prompt::found(&written)) {
            Ok(found) => by_model(intent, &found, &mut meant.slots, turn.today),
            // What is missing is asked for then.
            Err(reason) => self.platform.log(&format!("slots of '{}': {reason}", intent.name)),
        }
        Ok(())
    }

    async fn small_model(&self) -> Result<Option<SmallModel<'_>>, IntentFailure> {
        let endpoint = self.settings.search.endpoint.as_ref();
        Ok(SmallModel::read(self.platform, endpoint, MODEL_VARIABLE).await?)
    }

    /// The intents by how sure it is that they are meant.
    async fn compare(&self, catalogue: &Rc<Catalogue>, text: &str) -> Result<Compared, IntentFailure> {
        let embedding = self.settings.search.models.embedding.as_ref();
        match (self.settings.mode, embedding) {
            (Mode::Auto | Mode::Embedding, Some(model)) => {
                let ranked = self.by_vectors(catalogue, model, text).await?;
                Ok(Compared { by: By::Embedding, ranked })
            }
            (Mode::Embedding, None) => Err(IntentFailure::NoModel),
            _ => self.by_model(catalogue, text).await,
        }
    }

    async fn by_vectors(
        &self,
        catalogue: &Rc<Catalogue>,
        model: &EmbeddingModel,
        text: &str,
    ) -> Result<Vec<Ranked>, IntentFailure> {
        let embedder = Embedder::new(self.store, self.upstream, self.platform, &self.settings.search);
        let vectors: Vectors = match self.memory.vectors(catalogue, model) {
            Some(vectors) => vectors,
            None => {
                let examples: Vec<&str> =
                    catalogue.examples().iter().map(|(_, text)| text.as_str()).collect();
                let vectors = Rc::new(embedder.embed(&examples).await?);
                self.memory.keep(catalogue, model, &vectors);
                vectors
            }
        };
        let said = embedder.embed_queries(&[text]).await?;
        let said = said.first().map(Vec::as_slice).unwrap_or_default();
        let owners = catalogue.examples().iter().map(|(intent, _)| *intent);
        let examples = owners.zip(vectors.iter().map(Vec::as_slice));
        Ok(rank(said, examples, catalogue.intents().len(), self.settings.midpoint))
    }

    async fn by_model(&self, catalogue: &Catalogue, text: &str) -> Result<Compared, IntentFailure> {
        let Some(model) = self.small_model().await? else {
            return match self.settings.mode {
                Mode::Model => Err(IntentFailure::NoModel),
                _ => Ok(Compared { by: By::Nothing, ranked: Vec::new() }),
            };
        };
        let task = Task {
            instructions: prompt::CHOOSE,
            material: prompt::choices(catalogue, text),
            format: prompt::choice_format(catalogue),
            output_tokens_max: prompt::OUTPUT_TOKENS_MAX,
        };
        let written = model.write(self.upstream, task).await.map_err(IntentFailure::Model)?;
        let chosen = prompt::chosen(catalogue, &written).map_err(IntentFailure::Model)?;
        Ok(Compared { by: By::Model, ranked: chosen.into_iter().collect() })
    }
}

fn guidance(intent: &Intent) -> Guidance {
    Guidance {
        description: intent.description.clone(),
        instructions: intent.instructions.clone(),
        tools: intent.tools.clone(),
    }
}

#[cfg(test)]
mod tests;
