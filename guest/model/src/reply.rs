//! Chat Completions answers: the whole document, and the chunks of a stream.

use crate::failure::{ModelFailure, excerpt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use waggle_openai::item::{Citation, LogProb, TokenLogProb, UrlCitation};
use waggle_openai::json::Text;
use waggle_openai::response::Usage;

/// The most tool calls of one answer.
pub const TOOL_CALLS_MAX: usize = 64;

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It said all it wanted, or asks for tools.
    Stop,
    /// The token limit.
    Length,
    /// A content filter.
    ContentFilter,
}

impl FinishReason {
    fn parse(text: &str) -> Self {
        match text {
            "length" => Self::Length,
            "content_filter" => Self::ContentFilter,
            _ => Self::Stop,
        }
    }
}

/// A tool call, whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    /// Its id.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments: JSON as the model wrote it.
    pub arguments: String,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What it thought, where it tells.
    pub reasoning: String,
    /// What it said; empty when it only asks for tools.
    pub text: String,
    /// How probable the tokens of the text were, when that was asked for.
    pub logprobs: Vec<LogProb>,
    /// What the text cites.
    pub annotations: Vec<Citation>,
    /// Why it does not answer, when it says so apart from its text.
    pub refusal: String,
    /// The tools it asks for.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// What it counted, when it says so.
    pub usage: Option<Usage>,
}

/// A piece of a streamed answer.
#[derive(Debug, Default)]
pub struct Chunk<'a> {
    /// More of what it thinks.
    pub reasoning: Option<Text<'a>>,
    /// More text.
    pub text: Option<Text<'a>>,
    /// How probable the tokens of the text were, when that was asked for.
    pub logprobs: Vec<LogProb>,
    /// More of what the text cites.
    pub annotations: Vec<Citation>,
    /// More of why it does not answer.
    pub refusal: Option<Text<'a>>,
    /// Pieces of tool calls.
    pub tool_calls: Vec<ToolCallDelta<'a>>,
    /// Whether it holds a piece of the model's reasoning, which no standard has; two names for it are in use.
    pub reasons: bool,
    /// Why the model stopped, once it has.
    pub finish: Option<FinishReason>,
    /// What it counted, at the end.
    pub usage: Option<Usage>,
}

/// A piece of a tool call.
#[derive(Debug, Default, Deserialize)]
pub struct ToolCallDelta<'a> {
    /// Which of the answer's calls; servers that send whole calls leave it out.
    pub index: Option<usize>,
    /// The call's id, in its first piece.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// The function.
    #[serde(borrow, default)]
    pub function: FunctionDelta<'a>,
}

/// A piece of a function's call.
#[derive(Debug, Default, Deserialize)]
pub struct FunctionDelta<'a> {
    /// The name, in the first piece.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// More of the arguments.
    #[serde(borrow)]
    pub arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<UsageBody>,
    #[serde(borrow)]
    error: Option<ErrorField<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    delta: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LogProbsBody {
    content: Option<Vec<LogProbBody>>,
}

/// How probable a token was, as both APIs say it.
#[derive(Deserialize)]
pub(crate) struct LogProbBody {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
    top_logprobs: Option<Vec<LogProbBody>>,
}

#[derive(Deserialize)]
struct AnnotationBody {
    url_citation: Option<UrlCitation>,
}

#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    /// vLLM's and DeepSeek's name.
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    /// OpenRouter's and newer vLLM's name.
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCallDelta<'a>>>,
}

impl<'a> Message<'a> {
    /// What the model thought, by whichever name; servers that know both send both.
    fn reasoning(&self) -> Option<Text<'a>> {
        let says = |raw: &RawValue| !matches!(raw.get(), "\"\"" | "null");
        let raw = self.reasoning_content.filter(|raw| says(raw)).or(self.reasoning.filter(|raw| says(raw)));
        // Some have objects there, which are of no form anybody agreed on.
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Whether it holds a piece of the model's reasoning, in whichever form.
    fn reasons(&self) -> bool {
        let says = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() != "\"\"");
        says(self.reasoning_content) || says(self.reasoning)
    }
}

/// What an answer says besides is worth less than the answer: where it cannot be read, it is left out.
pub(crate) fn read_besides<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn logprobs(raw: Option<&RawValue>) -> Vec<LogProb> {
    log_probs(read_besides::<LogProbsBody>(raw).and_then(|body| body.content).unwrap_or_default())
}

pub(crate) fn log_probs(content: Vec<LogProbBody>) -> Vec<LogProb> {
    let token = |body: LogProbBody| {
        let LogProbBody { token, logprob, bytes, top_logprobs } = body;
        let bytes = bytes.unwrap_or_else(|| token.as_bytes().to_vec());
        (TokenLogProb { token, logprob, bytes }, top_logprobs)
    };
    let whole = |body: LogProbBody| {
        let (known, others) = token(body);
        let others = others.into_iter().flatten().map(|other| token(other).0);
        LogProb { token: known, top_logprobs: others.collect() }
    };
    content.into_iter().map(whole).collect()
}

fn annotations(raw: Option<&RawValue>) -> Vec<Citation> {
    let bodies: Vec<AnnotationBody> = read_besides(raw).unwrap_or_default();
    bodies.into_iter().filter_map(|body| body.url_citation.map(Citation::Url)).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField<'a> {
    Object {
        #[serde(borrow)]
        message: Text<'a>,
    },
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct UsageBody {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        Self {
            input_tokens: body.prompt_tokens,
            cached_tokens: body.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            output_tokens: body.completion_tokens,
            reasoning_tokens: body
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or(0),
        }
    }
}

fn read(json: &[u8]) -> Result<Body<'_>, ModelFailure> {
    // Looked at once as a whole, its strings need not be one by one.
    let body = match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(json),
    };
    let body: Body<'_> =
        body.map_err(|error| ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(json))))?;
    match body.error {
        None => Ok(body),
        Some(ErrorField::Object { message }) => Err(ModelFailure::Reported(excerpt(message.as_bytes()))),
        Some(ErrorField::Text(text)) => Err(ModelFailure::Reported(excerpt(text.as_bytes()))),
        Some(ErrorField::Other(_)) => Err(ModelFailure::Reported("an error it does not describe".into())),
    }
}

impl Chunk<'_> {
    /// Whether the model has begun to answer, or has ended without.
    pub fn says_something(&self) -> bool {
        self.text.is_some()
            || self.refusal.is_some()
            || !self.tool_calls.is_empty()
            || self.reasons
            || self.finish.is_some()
    }
}

/// Reads a whole answer.
///
/// # Errors
/// The body is not a chat completion, or is an error object.
pub fn read_completion(json: &[u8]) -> Result<Completion, ModelFailure> {
    let body = read(json)?;
    let choice = body.choices.and_then(|choices| choices.into_iter().next());
    let Some((choice, message)) =
        choice.and_then(|mut choice| choice.message.take().map(|message| (choice, message)))
    else {
        return Err(ModelFailure::NotACompletion(format!("no message in '{}'", excerpt(json))));
    };
    let reasoning = message.reasoning();
    let calls = message.tool_calls.unwrap_or_default();
    if calls.len() > TOOL_CALLS_MAX {
        return Err(ModelFailure::TooLong(format!("more than {TOOL_CALLS_MAX} tool calls")));
    }
    let tool_calls = calls.into_iter().map(|call| ToolCall {
        id: owned(call.id),
        name: owned(call.function.name),
        arguments: owned(call.function.arguments),
    });
    Ok(Completion {
        reasoning: owned(reasoning),
        text: owned(message.content),
        logprobs: logprobs(choice.logprobs),
        annotations: annotations(message.annotations),
        refusal: owned(message.refusal),
        tool_calls: tool_calls.collect(),
        finish: choice.finish_reason.map_or(FinishReason::Stop, |reason| FinishReason::parse(&reason)),
        usage: body.usage.map(Usage::from),
    })
}

pub(crate) fn owned(text: Option<Text<'_>>) -> String {
    text.map(|Text(text)| text.into_owned()).unwrap_or_default()
}

/// Reads a chunk of a streamed answer.
///
/// # Errors
/// The data is not a chunk of a chat completion, or is an error object.
pub fn read_chunk(json: &[u8]) -> Result<Chunk<'_>, ModelFailure> {
    let body = read(json)?;
    let mut chunk = Chunk { usage: body.usage.map(Usage::from), ..Chunk::default() };
    let Some(choice) = body.choices.and_then(|choices| choices.into_iter().next()) else { return Ok(chunk) };
    chunk.finish = choice.finish_reason.map(|reason| FinishReason::parse(&reason));
    let delta = choice.delta.unwrap_or_default();
    chunk.reasons = delta.reasons();
    chunk.reasoning = delta.reasoning();
    chunk.logprobs = logprobs(choice.logprobs);
    chunk.annotations = annotations(delta.annotations);
    chunk.text = delta.content.filter(|text| !text.is_empty());
    chunk.refusal = delta.refusal.filter(|refusal| !refusal.is_empty());
    chunk.tool_calls = delta.tool_calls.unwrap_or_default();
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_is_read() {
        let json = br#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",
            "content":"h\u00e9","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            "finish_reason":"length","logprobs":null}],"usage":{"prompt_tokens":3,"completion_tokens":2,
            "total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}}"#;
        let completion = read_completion(json).unwrap();
        assert_eq!(completion.text, "hé");
        assert!(completion.refusal.is_empty() && completion.reasoning.is_empty());
        assert_eq!(
            completion.tool_calls,
            [ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into() }]
        );
        assert_eq!(completion.finish, FinishReason::Length);
        let usage = Usage { input_tokens: 3, cached_tokens: 1, output_tokens: 2, reasoning_tokens: 0 };
        assert_eq!(completion.usage, Some(usage));
    }

    #[test]
    fn reasoning_refusals_citations_and_log_probabilities_are_read() {
        let json = br#"{"choices":[{"message":{"content":null,"refusal":"no","reasoning":"hm","annotations":[
            {"type":"url_citation","url_citation":{"start_index":1,"end_index":2,"url":"https://e.x","title":"t"}},
            {"type":"other"}]},"logprobs":{"content":[{"token":"\u00e9","logprob":-0.5,"bytes":null,
            "top_logprobs":[{"token":"e","logprob":-1,"bytes":[101]}]}],"refusal":null}}]}"#;
        let completion = read_completion(json).unwrap();
        assert_eq!((&*completion.text, &*completion.refusal, &*completion.reasoning), ("", "no", "hm"));
        let cited =
            UrlCitation { start_index: 1, end_index: 2, url: "https://e.x".into(), title: "t".into() };
        assert_eq!(completion.annotations, [Citation::Url(cited)]);
        let token = |token: &str, logprob| TokenLogProb {
            token: token.into(),
            logprob,
            bytes: token.as_bytes().to_vec(),
        };
        assert_eq!(
            completion.logprobs,
            [LogProb { token: token("é", -0.5), top_logprobs: vec![token("e", -1.0)] }]
        );
        let chunk =
            br#"{"choices":[{"delta":{"reasoning_content":"h","reasoning":"h"},"logprobs":{"x":[1]}}]}"#;
        let chunk = read_chunk(chunk).unwrap();
        assert_eq!(chunk.reasoning.as_deref(), Some("h"));
        assert!(chunk.logprobs.is_empty(), "what cannot be read is left out");
    }

    fn check(json: &str, expected: fn(&ModelFailure) -> bool) {
        let failure = read_completion(json.as_bytes()).unwrap_err();
        assert!(expected(&failure), "{json}: {failure:?}");
    }

    #[test]
    fn what_is_not_a_completion_is_named() {
        check("<html>busy</html>", |failure| matches!(failure, ModelFailure::NotACompletion(_)));
        check("", |failure| matches!(failure, ModelFailure::NotACompletion(_)));
        check("{}", |failure| matches!(failure, ModelFailure::NotACompletion(_)));
        check(r#"{"choices":[]}"#, |failure| matches!(failure, ModelFailure::NotACompletion(_)));
        check(r#"{"error":{"message":"no"}}"#, |failure| matches!(failure, ModelFailure::Reported(_)));
        check(r#"{"error":"no"}"#, |failure| matches!(failure, ModelFailure::Reported(_)));
        check(r#"{"error":{"code":1}}"#, |failure| matches!(failure, ModelFailure::Reported(_)));
    }

    fn check_says_something(delta: &str, finish: &str, expected: bool) {
        let json = format!(r#"{{"choices":[{{"delta":{delta},"finish_reason":{finish}}}]}}"#);
        assert_eq!(read_chunk(json.as_bytes()).unwrap().says_something(), expected, "{json}");
    }

    #[test]
    fn a_role_says_nothing_yet() {
        check_says_something(r#"{"role":"assistant","content":""}"#, "null", false);
        check_says_something(
            r#"{"role":"assistant","content":null,"reasoning_content":null}"#,
            "null",
            false,
        );
        check_says_something(r#"{"reasoning_content":"","reasoning":""}"#, "null", false);
        check_says_something("{}", "null", false);
        check_says_something(r#"{"content":"a"}"#, "null", true);
        check_says_something(r#"{"reasoning_content":"a"}"#, "null", true);
        check_says_something(r#"{"reasoning":"a"}"#, "null", true);
        check_says_something(r#"{"refusal":"no"}"#, "null", true);
        check_says_something(r#"{"tool_calls":[{"index":0}]}"#, "null", true);
        check_says_something("{}", "\"stop\"", true);
    }

    #[test]
    fn chunks_are_read() {
        let chunk = read_chunk(br#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#).unwrap();
        assert!(chunk.text.is_none() && chunk.finish.is_none());
        let chunk = read_chunk(br#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#).unwrap();
        assert_eq!(chunk.text.as_deref(), Some("a"));
        let chunk = read_chunk(br#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#).unwrap();
        assert_eq!(chunk.finish, Some(FinishReason::Stop));
        let json = br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        assert_eq!(read_chunk(json).unwrap().usage.map(|usage| usage.output_tokens), Some(2));
        let json = br#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"a"}}]}}]}"#;
        let chunk = read_chunk(json).unwrap();
        assert_eq!(chunk.tool_calls[0].index, Some(1));
        assert_eq!(chunk.tool_calls[0].function.arguments.as_deref(), Some("{\"a"));
    }
}
