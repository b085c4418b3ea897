//! A tenant's intents, read from the variable and checked.

use crate::fields::{Fields, text_of, wrong};
use crate::lexical::plain;
use regex_lite::Regex;
use serde_json::Value;
use std::collections::HashMap;
use waggle_search::Language;

/// The longest list of intents, in bytes.
const BYTES_MAX: usize = 1 << 20;
/// How many intents there may be.
const INTENTS_MAX: usize = 200;
/// How many examples one may have, and all together: their vectors are in the instance's memory.
const EXAMPLES_MAX: usize = 64;
const ALL_EXAMPLES_MAX: usize = 4_096;
const EXAMPLE_CHARACTERS_MAX: usize = 500;
const SLOTS_MAX: usize = 16;
const VALUES_MAX: usize = 100;
const VALUE_CHARACTERS_MAX: usize = 200;
const PATTERN_CHARACTERS_MAX: usize = 500;
/// A pattern that becomes larger than this, in bytes, is refused.
const PATTERN_SIZE_MAX: usize = 1 << 18;
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;
const QUESTION_CHARACTERS_MAX: usize = 1_000;
const INSTRUCTIONS_CHARACTERS_MAX: usize = 4_000;
const TOOLS_MAX: usize = 16;
const TOOL_CHARACTERS_MAX: usize = 129;
/// The least confidence of an intent that does not say.
const THRESHOLD_DEFAULT: f64 = 0.5;
/// The name that no intent may have: it stands for none.
pub(crate) const UNKNOWN: &str = "unknown";

const INTENT_FIELDS: [&str; 7] =
    ["name", "description", "examples", "threshold", "slots", "instructions", "tools"];
const SLOT_FIELDS: [&str; 7] = ["name", "description", "type", "values", "pattern", "required", "question"];

/// What is wrong with the list of intents, and where; for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable 'intents' cannot be used: at '{at}': {reason}")]
pub struct IntentsError {
    /// Where, as in `intents[2].slots[0].type`.
    pub at: String,
    /// What.
    pub reason: String,
}

/// Something that a customer may want.
#[derive(Debug)]
pub struct Intent {
    /// Its name: letters, digits, `_` and `-`; unique.
    pub name: String,
    /// What it is, for models.
    pub description: String,
    /// What customers say who want it: 1 to 64 texts.
    pub examples: Vec<String>,
    /// The least confidence at which it is recognised, from 0 to 1.
    pub threshold: f64,
    /// What has to be known, or may be.
    pub slots: Vec<Slot>,
    /// What the model of a turn is told besides; may be empty.
    pub instructions: String,
    /// The tools that such a turn gets: `LABEL` or `LABEL.FUNCTION`.
    pub tools: Vec<String>,
}

/// Something that belongs to an intent.
#[derive(Debug)]
pub struct Slot {
    /// Its name; unique within the intent.
    pub name: String,
    /// What it is, for models, and for customers where there is no question.
    pub description: String,
    /// What its values are.
    pub kind: SlotKind,
    /// How a value looks: what it finds in a text is one, or its first group if it has any.
    pub pattern: Option<Regex>,
    /// Whether it is asked for.
    pub required: bool,
    /// How.
    pub question: Option<Wording>,
}

/// What the values of a slot are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotKind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A day, as `2026-11-22`.
    Date,
    /// One of these.
    Enum(Vec<String>),
}

/// A text in one or both of our languages; at least one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    zh: Option<String>,
    en: Option<String>,
}

impl Wording {
    fn read(value: &Value, at: &str) -> Result<Self, crate::IntentsError> {
        if value.is_string() {
            let text = Some(text_of(value, at, QUESTION_CHARACTERS_MAX)?);
            return Ok(Self { zh: text.clone(), en: text });
        }
        let fields = Fields::of(value, at.to_owned(), &["zh", "en"])?;
        let zh = fields.text("zh", QUESTION_CHARACTERS_MAX)?;
        let en = fields.text("en", QUESTION_CHARACTERS_MAX)?;
        if zh.is_none() && en.is_none() {
            return Err(wrong(at, "it has neither 'zh' nor 'en'"));
        }
        Ok(Self { zh, en })
    }

    /// The text in that language, or in the other where there is none.
    pub fn text(&self, language: Language) -> &str {
        let (first, second) = match language {
            Language::Chinese => (&self.zh, &self.en),
            Language::English => (&self.en, &self.zh),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }
}

impl Slot {
    fn read(value: &Value, path: String) -> Result<Self, IntentsError> {
        let fields = Fields::of(value, path, &SLOT_FIELDS)?;
        let name = fields.name("name")?;
        let question_at = fields.at("question");
        Ok(Self {
            description: fields
                .text("description", DESCRIPTION_CHARACTERS_MAX)?
                .unwrap_or_else(|| name.clone()),
            name,
            kind: kind(&fields)?,
            pattern: pattern(&fields)?,
            required: fields.flag("required", false)?,
            question: fields.get("question").map(|value| Wording::read(value, &question_at)).transpose()?,
        })
    }

    /// What a customer is asked for it.
    pub fn question(&self, language: Language) -> String {
        match (&self.question, language) {
            (Some(question), language) => question.text(language).to_owned(),
            (None, Language::Chinese) => format!("请告诉我:{}", self.description),
            (None, Language::English) => format!("Please tell me: {}", self.description),
        }
    }
}

fn kind(fields: &Fields<'_>) -> Result<SlotKind, IntentsError> {
    let at = fields.at("type");
    let name = fields.text("type", VALUE_CHARACTERS_MAX)?.ok_or_else(|| wrong(&at, "it is missing"))?;
    let values = fields.texts("values", VALUES_MAX, VALUE_CHARACTERS_MAX)?;
    let kind = match name.as_str() {
        "string" => SlotKind::String,
        "integer" => SlotKind::Integer,
        "number" => SlotKind::Number,
        "boolean" => SlotKind::Boolean,
        "date" => SlotKind::Date,
        "enum" if values.is_empty() => return Err(wrong(fields.at("values"), "an enum has at least one")),
        "enum" => return Ok(SlotKind::Enum(values)),
        _ => return Err(wrong(at, "it must be string, integer, number, boolean, date or enum")),
    };
    if values.is_empty() { Ok(kind) } else { Err(wrong(fields.at("values"), "only an enum has values")) }
}

fn pattern(fields: &Fields<'_>) -> Result<Option<Regex>, IntentsError> {
    let Some(text) = fields.text("pattern", PATTERN_CHARACTERS_MAX)? else { return Ok(None) };
    let regex =
        regex_lite::RegexBuilder::new(&text).case_insensitive(true).size_limit(PATTERN_SIZE_MAX).build();
    let regex = regex.map_err(|error| wrong(fields.at("pattern"), format!("it is no pattern: {error}")))?;
    if regex.is_match("") {
        return Err(wrong(fields.at("pattern"), "it finds what is nothing"));
    }
    Ok(Some(regex))
}

impl Intent {
    fn read(value: &Value, path: String) -> Result<Self, IntentsError> {
        let fields = Fields::of(value, path, &INTENT_FIELDS)?;
        let name = fields.name("name")?;
        if name == UNKNOWN {
            return Err(wrong(fields.at("name"), "'unknown' stands for what is no intent"));
        }
        let examples = fields.texts("examples", EXAMPLES_MAX, EXAMPLE_CHARACTERS_MAX)?;
        if examples.is_empty() {
            return Err(wrong(fields.at("examples"), "there must be at least one"));
        }
        let intent = Self {
            name,
            description: fields.text("description", DESCRIPTION_CHARACTERS_MAX)?.unwrap_or_default(),
            examples,
            threshold: threshold(&fields)?,
            slots: slots(&fields)?,
            instructions: fields.text("instructions", INSTRUCTIONS_CHARACTERS_MAX)?.unwrap_or_default(),
            tools: fields.texts("tools", TOOLS_MAX, TOOL_CHARACTERS_MAX)?,
        };
        if let Some(place) = intent.tools.iter().position(|tool| !is_tool(tool)) {
            return Err(wrong(
                format!("{}[{place}]", fields.at("tools")),
                "it is neither LABEL nor LABEL.FUNCTION",
            ));
        }
        Ok(intent)
    }

    /// The slot of that name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

fn is_tool(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let (label, function) = text.split_once('.').unwrap_or((text, "_"));
    is_name(label) && is_name(function)
}

fn threshold(fields: &Fields<'_>) -> Result<f64, IntentsError> {
    let Some(value) = fields.get("threshold") else { return Ok(THRESHOLD_DEFAULT) };
    let number = value.as_f64().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| wrong(fields.at("threshold"), "it must be a number from 0 to 1"))
}

fn slots(fields: &Fields<'_>) -> Result<Vec<Slot>, IntentsError> {
    let mut slots: Vec<Slot> = Vec::new();
    for (place, value) in fields.list("slots", SLOTS_MAX)?.iter().enumerate() {
        let path = format!("{}[{place}]", fields.at("slots"));
        let slot = Slot::read(value, path.clone())?;
        if slots.iter().any(|known| known.name == slot.name) {
            return Err(wrong(format!("{path}.name"), format!("there are two slots '{}'", slot.name)));
        }
        slots.push(slot);
    }
    Ok(slots)
}

/// All intents of a tenant.
#[derive(Debug, Default)]
pub struct Catalogue {
    intents: Vec<Intent>,
    /// From an example's words to the intent whose it is.
    by_words: HashMap<String, usize>,
    /// The examples of all intents, each with the place of its intent.
    examples: Vec<(usize, String)>,
}

impl Catalogue {
    /// Reads a JSON array of intents; nothing at all stands for an empty one.
    ///
    /// # Errors
    /// It is none; the error says where.
    pub fn read(text: &str) -> Result<Self, IntentsError> {
        const AT: &str = "intents";
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > BYTES_MAX {
            return Err(wrong(AT, format!("it is longer than {BYTES_MAX} bytes")));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| wrong(AT, format!("it is no JSON: {error}")))?;
        let list = value.as_array().ok_or_else(|| wrong(AT, "it must be an array"))?;
        if list.len() > INTENTS_MAX {
            return Err(wrong(AT, format!("it has {} intents, at most {INTENTS_MAX} may be", list.len())));
        }
        let mut catalogue = Self::default();
        for (place, value) in list.iter().enumerate() {
            catalogue.add(Intent::read(value, format!("{AT}[{place}]"))?)?;
        }
        Ok(catalogue)
    }

    fn add(&mut self, intent: Intent) -> Result<(), IntentsError> {
        let place = self.intents.len();
        if self.intents.iter().any(|known| known.name == intent.name) {
            let told = format!("there are two intents '{}'", intent.name);
            return Err(wrong(format!("intents[{place}].name"), told));
        }
        for (number, example) in intent.examples.iter().enumerate() {
            let at = || format!("intents[{place}].examples[{number}]");
            let words = plain(example);
            if words.is_empty() {
                return Err(wrong(at(), "it has no words"));
            }
            if let Some(other) = self.by_words.insert(words, place).filter(|other| *other != place) {
                let name = self.intents.get(other).map_or("", |intent| intent.name.as_str());
                return Err(wrong(at(), format!("it is an example of '{name}' as well")));
            }
            self.examples.push((place, example.clone()));
        }
        if self.examples.len() > ALL_EXAMPLES_MAX {
            return Err(wrong(
                "intents",
                format!("they have more than {ALL_EXAMPLES_MAX} examples together"),
            ));
        }
        self.intents.push(intent);
        Ok(())
    }

    /// All of them, in their order.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The one of that name, and its place.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Intent)> {
        self.intents.iter().enumerate().find(|(_, intent)| intent.name == name)
    }

    /// All examples, each with the place of its intent.
    pub(crate) fn examples(&self) -> &[(usize, String)] {
        &self.examples
    }

    /// The examples' words, each with the place of its intent.
    pub(crate) fn by_words(&self) -> &HashMap<String, usize> {
        &self.by_words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check_wrong(value: &Value, at: &str) {
        let error = Catalogue::read(&value.to_string()).unwrap_err();
        assert_eq!(error.at, at, "{value}: {error}");
    }

    fn intent(changes: &Value) -> Value {
        let mut intent = json!({"name": "a", "examples": ["hello"]});
        for (name, value) in changes.as_object().unwrap() {
            intent[name] = value.clone();
        }
        intent
    }

    #[test]
    fn intents_are_read() {
        let text = json!([intent(
            &json!({"threshold": 0.7, "tools": ["shop", "shop.find"], "instructions": "Be kind.",
            "slots": [{"name": "order", "type": "string", "pattern": "\\d{4}", "required": true,
                "question": {"zh": "订单号?", "en": "Which order?"}},
                {"name": "size", "type": "enum", "values": ["S", "L"]}]})
        )]);
        let catalogue = Catalogue::read(&text.to_string()).unwrap();
        let intent = &catalogue.intents()[0];
        assert_eq!((intent.threshold, intent.slots.len(), intent.tools.len()), (0.7, 2, 2));
        let slot = intent.slot("order").unwrap();
        assert_eq!(slot.question(Language::Chinese), "订单号?");
        assert_eq!(slot.question(Language::English), "Which order?");
        assert_eq!(intent.slots[1].question(Language::English), "Please tell me: size");
        assert!(Catalogue::read(" ").unwrap().intents().is_empty());
    }

    #[test]
    fn an_error_says_where() {
        check_wrong(&json!({}), "intents");
        check_wrong(&json!([1]), "intents[0]");
        check_wrong(&json!([{"examples": ["x"]}]), "intents[0].name");
        check_wrong(&json!([intent(&json!({"name": "two words"}))]), "intents[0].name");
        check_wrong(&json!([intent(&json!({"name": "unknown"}))]), "intents[0].name");
        check_wrong(&json!([intent(&json!({"examples": []}))]), "intents[0].examples");
        check_wrong(&json!([intent(&json!({"examples": ["x", ""]}))]), "intents[0].examples[1]");
        check_wrong(&json!([intent(&json!({"examples": ["?!"]}))]), "intents[0].examples[0]");
        check_wrong(&json!([intent(&json!({"examples": vec!["x"; 65]}))]), "intents[0].examples");
        check_wrong(&json!([intent(&json!({"threshold": 1.5}))]), "intents[0].threshold");
        check_wrong(&json!([intent(&json!({"thresold": 0.5}))]), "intents[0].thresold");
        check_wrong(&json!([intent(&json!({"tools": ["a b"]}))]), "intents[0].tools[0]");
        check_wrong(&json!([intent(&json!({})), intent(&json!({}))]), "intents[1].name");
        check_wrong(
            &json!([intent(&json!({})), intent(&json!({"name": "b", "examples": ["Hello!"]}))]),
            "intents[1].examples[0]",
        );
        let slot = |changes: &Value| {
            let mut slot = json!({"name": "s", "type": "string"});
            for (name, value) in changes.as_object().unwrap() {
                slot[name] = value.clone();
            }
            json!([intent(&json!({"slots": [slot]}))])
        };
        check_wrong(&slot(&json!({"type": "list"})), "intents[0].slots[0].type");
        check_wrong(&slot(&json!({"type": "enum"})), "intents[0].slots[0].values");
        check_wrong(&slot(&json!({"values": ["a"]})), "intents[0].slots[0].values");
        check_wrong(&slot(&json!({"pattern": "("})), "intents[0].slots[0].pattern");
        check_wrong(&slot(&json!({"pattern": "a*"})), "intents[0].slots[0].pattern");
        check_wrong(&slot(&json!({"required": "yes"})), "intents[0].slots[0].required");
        check_wrong(&slot(&json!({"question": {}})), "intents[0].slots[0].question");
        check_wrong(&slot(&json!({"question": {"fr": "?"}})), "intents[0].slots[0].question.fr");
        assert_eq!(Catalogue::read("[{").unwrap_err().at, "intents");
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Catalogue::read(&text);
        }
    }
}
