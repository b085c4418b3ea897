//! The body of `POST /v1/responses`.

use crate::error::{ApiError, echo};
use crate::id::{ConversationId, ITEMS_PER_COMMIT_MAX, ResponseId};
use crate::include::{INCLUDES_MAX, Include};
use crate::item::{InputElement, Item, Part, Role};
use crate::json::{Elements, Fields, Path, Text, Unknown, read_object, read_raw};
use crate::object::Object;
use crate::parameters::Parameters;
use crate::tool::{AnyTool, TOOLS_MAX, ToolChoice};
use crate::whole::Whole;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The most items of one input, which leaves room for the model's own in the same commit.
pub const INPUT_ITEMS_MAX: usize = ITEMS_PER_COMMIT_MAX - 100;

/// What a turn continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Continues {
    /// Nothing: it starts afresh.
    #[default]
    Nothing,
    /// The chain that ends in this response.
    Response(ResponseId),
    /// This conversation.
    Conversation(ConversationId),
}

impl Continues {
    /// The response, where it is one.
    pub(crate) fn response(self) -> Option<ResponseId> {
        if let Self::Response(id) = self { Some(id) } else { None }
    }

    /// The conversation, where it is one.
    pub(crate) fn conversation(self) -> Option<ConversationId> {
        if let Self::Conversation(id) = self { Some(id) } else { None }
    }
}

/// A stored item that a client names in its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Its id, as the client wrote it.
    pub id: Cow<'a, str>,
    /// Its place in the request's `input`, where everything else is an item.
    pub place: usize,
}

impl Reference<'_> {
    /// 400: there is no such item, or none that the caller sees.
    pub fn not_found(&self) -> ApiError {
        let message = format!("Item with id '{}' not found.", echo(&self.id));
        ApiError::invalid_param(format!("input[{}]", self.place), "item_not_found", message)
    }
}

/// A request for a response.
#[derive(Debug)]
pub struct CreateResponse<'a> {
    /// What is said now; never empty, unless there are references.
    pub input: Vec<Item<'a>>,
    /// Stored items that are said again, in their order.
    pub references: Vec<Reference<'a>>,
    /// What it continues.
    pub continues: Continues,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the turn runs in the background; then its response is stored.
    pub background: bool,
    /// The settings of the turn.
    pub parameters: Parameters,
}

impl<'a> CreateResponse<'a> {
    /// Reads and validates a request body.
    ///
    /// # Errors
    /// 400, with `param` naming the first field that is unknown, of the wrong type or out of range.
    pub fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        Draft::read_body(body)?.validate()
    }

    /// The same of a request whose tokens are to be counted: it may leave out its input, which is empty then.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_to_count(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut draft = Draft::read_body(body)?;
        let says_nothing = draft.input.is_none();
        // Only what is said is held to be something.
        draft.input.get_or_insert_with(|| vec![said_by_user(Part::text(""))]);
        let mut request = draft.validate()?;
        if says_nothing {
            request.input.clear();
        }
        Ok(request)
    }
}

#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub(crate) input: Option<Vec<InputElement<'a>>>,
    previous: Option<Text<'a>>,
    conversation: Option<&'a RawValue>,
    tools: Vec<AnyTool>,
    tool_choice: Option<&'a RawValue>,
    background: Option<bool>,
    unsupported: Option<&'static str>,
    stream: bool,
    include: Vec<Text<'a>>,
    pub(crate) parameters: Parameters,
}

impl<'de: 'a, 'a> Fields<'de> for Draft<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        let parameters = &mut self.parameters;
        match name {
            "input" => self.input = Some(map.next_value_seed(Input(path))?),
            "previous_response_id" => self.previous = map.next_value()?,
            "conversation" => self.conversation = raw(map)?,
            "stream" => self.stream = map.next_value::<Option<bool>>()?.unwrap_or(false),
            "background" => self.background = map.next_value()?,
            "model" => parameters.model = map.next_value()?,
            "instructions" => parameters.instructions = map.next_value()?,
            "metadata" => parameters.metadata = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "temperature" => parameters.temperature = map.next_value()?,
            "top_p" => parameters.top_p = map.next_value()?,
            "max_output_tokens" => parameters.max_output_tokens = whole(map)?,
            "presence_penalty" => parameters.presence_penalty = map.next_value()?,
            "frequency_penalty" => parameters.frequency_penalty = map.next_value()?,
            "top_logprobs" => parameters.top_logprobs = whole(map)?,
            "max_tool_calls" => parameters.max_tool_calls = whole(map)?,
            "include" => self.include = map.next_value_seed(Elements::new(path, INCLUDES_MAX))?,
            "stream_options" => {
                map.next_value::<Option<Object<StreamOptions>>>()?;
            }
            "user" => parameters.user = map.next_value()?,
            "tools" => self.tools = map.next_value_seed(Elements::new(path, TOOLS_MAX))?,
            "tool_choice" => self.tool_choice = raw(map)?,
            "parallel_tool_calls" => parameters.parallel_tool_calls = map.next_value()?,
            "reasoning" => parameters.reasoning = object(map)?,
            "text" => parameters.text = object(map)?,
            "truncation" => parameters.truncation = map.next_value()?,
            "service_tier" => parameters.service_tier = map.next_value()?,
            "safety_identifier" => parameters.safety_identifier = map.next_value()?,
            "prompt_cache_key" => parameters.prompt_cache_key = map.next_value()?,
            "store" => parameters.store = map.next_value::<Option<bool>>()?.unwrap_or(true),
            // They change what OpenAI's own service does around a turn; here they have nothing to change.
            "prompt_cache_options" | "prompt_cache_retention" => {
                map.next_value::<IgnoredAny>()?;
            }
            _ => return self.read_unsupported(name, map),
        }
        Ok(true)
    }
}

fn raw<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de RawValue>, A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    Ok((raw.get() != "null").then_some(raw))
}

/// A whole number, or none.
fn whole<'de, N: TryFrom<u64>, A: MapAccess<'de>>(map: &mut A) -> Result<Option<N>, A::Error> {
    Ok(map.next_value::<Option<Whole<N>>>()?.map(|Whole(number)| number))
}

impl<'a> Draft<'a> {
    fn read_body(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut draft = Self::default();
        draft.parameters.store = true;
        read_object(body, &mut draft, Unknown::Refused)?;
        Ok(draft)
    }

    /// Fields that mean something to OpenAI and would be wrong to ignore.
    fn read_unsupported<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        const UNSUPPORTED: [&str; 6] =
            ["access_programs", "background_options", "context_management", "image", "moderation", "prompt"];
        let Some(field) = UNSUPPORTED.into_iter().find(|field| *field == name) else { return Ok(false) };
        if map.next_value::<Option<IgnoredAny>>()?.is_some() {
            self.unsupported = Some(field);
        }
        Ok(true)
    }

    fn validate(self) -> Result<CreateResponse<'a>, ApiError> {
        let continues = self.continues()?;
        let background = self.background.unwrap_or(false);
        if background && !self.parameters.store {
            let message = "'background' needs 'store': what runs in the background is read from the store. Leave one out.";
            return Err(ApiError::invalid_param("background", "invalid_value", message));
        }
        if let Some(field) = self.unsupported {
            let message = format!("'{field}' is not supported by this server. Leave it out.");
            return Err(ApiError::unsupported(field, message));
        }
        let input = self.input.ok_or_else(|| ApiError::missing("input"))?;
        if input.is_empty() {
            let message = "Invalid 'input': an empty array. Send a string or at least one item.";
            return Err(ApiError::invalid_param("input", "empty_array", message));
        }
        let (input, references) = divided(input);
        let mut parameters = self.parameters;
        parameters.take_tools(self.tools)?;
        if let Some(raw) = self.tool_choice {
            parameters.tool_choice = ToolChoice::read(raw)?;
        }
        parameters.include = Include::read(&self.include)?;
        parameters.validate()?;
        Ok(CreateResponse { input, references, continues, stream: self.stream, background, parameters })
    }

    pub(crate) fn continues(&self) -> Result<Continues, ApiError> {
        if self.previous.is_some() && self.conversation.is_some() {
            let message =
                "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Send one.";
            return Err(ApiError::invalid_param(
                "previous_response_id",
                "mutually_exclusive_parameters",
                message,
            ));
        }
        if let Some(id) = &self.previous {
            return ResponseId::parse(id).map(Continues::Response).ok_or_else(|| unknown_previous(id));
        }
        let Some(raw) = self.conversation else { return Ok(Continues::Nothing) };
        let Text(id) = if raw.get().starts_with('"') {
            read_raw(raw.get(), "conversation")?
        } else {
            read_raw::<Object<ConversationField<'_>>>(raw.get(), "conversation")?.0.id
        };
        ConversationId::parse(&id)
            .map(Continues::Conversation)
            .ok_or_else(|| ApiError::not_found("Conversation", &id))
    }
}

/// An object, or the default for none.
fn object<'de, T: Deserialize<'de> + Default, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<Object<T>>>()?.unwrap_or_default().0)
}

/// Obfuscation pads events so that their lengths do not tell their content to who listens on the wire. It is not
/// produced: whoever can read lengths between this server and its clients can read its model's stream as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConversationField<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

/// 400, as OpenAI answers it: there is no such response to continue.
pub fn unknown_previous(id: &str) -> ApiError {
    let message = format!("Previous response with id '{}' not found.", echo(id));
    ApiError::invalid_param("previous_response_id", "previous_response_not_found", message)
}

/// The items, and the references among them.
pub(crate) fn divided(elements: Vec<InputElement<'_>>) -> (Vec<Item<'_>>, Vec<Reference<'_>>) {
    let mut items = Vec::with_capacity(elements.len());
    let mut references = Vec::new();
    for (place, element) in elements.into_iter().enumerate() {
        match element {
            InputElement::Item(item) => items.push(item),
            InputElement::Reference(id) => references.push(Reference { id, place }),
        }
    }
    (items, references)
}

fn said_by_user(part: Part<'_>) -> InputElement<'_> {
    InputElement::Item(Item::Message { role: Role::User, parts: vec![part], phase: None })
}

/// The `input` field: a string, which is a user's message, or an array of items.
pub(crate) struct Input<'p>(pub(crate) &'p Path);

impl<'de> DeserializeSeed<'de> for Input<'_> {
    type Value = Vec<InputElement<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Input<'_> {
    type Value = Vec<InputElement<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an array of items")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(vec![said_by_user(Part::text(text))])
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![said_by_user(Part::text(text.to_owned()))])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        Elements::new(self.0, INPUT_ITEMS_MAX).visit_seq(sequence)
    }
}
