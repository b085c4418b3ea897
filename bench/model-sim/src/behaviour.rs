//! How one request is to be treated: delays, length, errors, faults. Pure parsing, no I/O.
//!
//! The same keys are accepted in three places, later ones winning: the configuration (flags), `x-sim-KEY`
//! request headers (with `-` for `_`), and a directive in the last user message, `[sim: KEY=VALUE ...]`. The
//! directive exists because an intermediary between a test and the model may drop headers.

use std::ops::Range;

use hyper::HeaderMap;

use crate::script::is_script;

/// What a request may ask of the simulated model. The default is an immediate, faultless answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Delay before the response headers, in milliseconds.
    pub headers_ms: u64,
    /// Delay before the first token (for a plain answer: before the answer), in milliseconds.
    pub first_token_ms: u64,
    /// Pace of the tokens after the first; `None` sends them as fast as the client reads.
    pub tokens_per_second: Option<f64>,
    /// Length of the answer in tokens; `None` answers with the echo of the last user message.
    pub tokens: Option<u32>,
    /// Share of requests, 0.0 to 1.0, that fail with `status` (500 when none is set).
    pub error_rate: f64,
    /// Answer with this HTTP status instead of a completion (subject to `error_rate` when that is set).
    pub status: Option<u16>,
    /// Value of the `Retry-After` header of an error answer, in seconds.
    pub retry_after: Option<u64>,
    /// Fail only the first N requests that carry the same `key`, then succeed.
    pub fail_first: Option<u32>,
    /// What `fail_first` counts by.
    pub key: String,
    /// How the connection or the answer is to be broken.
    pub fault: Option<Fault>,
    /// The number of tokens sent before the fault; `None` takes the fault's own default.
    pub after: Option<u32>,
    /// Pause between two bytes of the response head under [`Fault::SlowHeaders`], in milliseconds.
    pub drip_ms: u64,
    /// Seed of the text of `tokens` and of the draws of `error_rate`.
    pub seed: u64,
    /// Answer with a call of this tool: `NAME {json}`.
    pub tool: Option<String>,
    /// Obey the directives of tools and documents as well: a model that every injection succeeds with.
    pub obeys_everything: bool,
    /// Answer as somebody.
    pub persona: Option<Persona>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            headers_ms: 0,
            first_token_ms: 0,
            tokens_per_second: None,
            tokens: None,
            error_rate: 0.0,
            status: None,
            retry_after: None,
            fail_first: None,
            key: String::new(),
            fault: None,
            after: None,
            drip_ms: 100,
            seed: 0,
            tool: None,
            obeys_everything: false,
            persona: None,
        }
    }
}

/// Somebody the model answers as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    /// The bot of a shop that has orders, documents, and people to hand over to.
    Shop,
}

/// A way in which a model endpoint misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Never answers (or, with `after`, stops sending in the middle of the stream) but keeps the connection open.
    Hang,
    /// Closes the connection in the middle of the answer, at the end of an event.
    Cut,
    /// Closes the connection in the middle of an event.
    CutMidEvent,
    /// Answers with a page of HTML, as a proxy in front of a model does.
    Html,
    /// Answers 413 and closes without reading the request body. By directive the body has been read already.
    RefuseBody,
    /// Sends the response head byte by byte, `drip_ms` apart.
    SlowHeaders,
    /// Resets the TCP connection: at once, or with `after` in the middle of the answer.
    Reset,
    /// Answers with JSON that does not parse; in a stream, one of the events.
    BadJson,
    /// Never stops sending tokens.
    Endless,
    /// Says that the answer is compressed (`content-encoding: gzip`), which it is not.
    BadGzip,
}

impl Fault {
    const NAMES: [(&'static str, Self); 10] = [
        ("hang", Self::Hang),
        ("cut", Self::Cut),
        ("cut-mid-event", Self::CutMidEvent),
        ("html", Self::Html),
        ("refuse-body", Self::RefuseBody),
        ("slow-headers", Self::SlowHeaders),
        ("reset", Self::Reset),
        ("bad-json", Self::BadJson),
        ("endless", Self::Endless),
        ("bad-gzip", Self::BadGzip),
    ];

    fn parse(value: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == value).map(|(_, fault)| *fault)
    }
}

/// Why a header or directive was refused; the text is what the client reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// The key is none of [`KEYS`].
    #[error("unknown simulation key `{key}`; known keys are: {}", KEYS.join(", "))]
    UnknownKey {
        /// The key as written.
        key: String,
    },
    /// The value does not fit the key.
    #[error("the simulation key `{key}` cannot be `{value}`; expected {expected}")]
    BadValue {
        /// The key as written.
        key: String,
        /// The value as written.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A word of a directive without `=`.
    #[error("`{word}` in a [sim: ...] directive is not of the form key=value")]
    NotAPair {
        /// The word as written.
        word: String,
    },
}

/// Every key that headers and directives accept; `tps` is short for `tokens_per_second`.
pub const KEYS: [&str; 17] = [
    "headers_ms",
    "first_token_ms",
    "tokens_per_second",
    "tps",
    "tokens",
    "error_rate",
    "status",
    "retry_after",
    "fail_first",
    "key",
    "fault",
    "after",
    "drip_ms",
    "seed",
    "tool",
    "obey",
    "persona",
];

const HEADER_PREFIX: &str = "x-sim-";
pub(crate) const DIRECTIVE_OPEN: &str = "[sim:";
/// No delay is longer than this, whatever the request says.
pub const DELAY_MS_MAX: u64 = 600_000;

impl Behaviour {
    /// Applies every `x-sim-*` header, in the order they arrived.
    ///
    /// # Errors
    /// The first header with an unknown key or a value that does not fit.
    pub fn apply_headers(&mut self, headers: &HeaderMap) -> Result<(), BehaviourError> {
        for (name, value) in headers {
            if let Some(key) = name.as_str().strip_prefix(HEADER_PREFIX) {
                let value = String::from_utf8_lossy(value.as_bytes());
                self.set(&key.replace('-', "_"), value.trim())?;
            }
        }
        Ok(())
    }

    /// Applies the inside of a directive: `fault=cut after=3`, pairs parted by blanks or commas.
    ///
    /// # Errors
    /// The first pair with an unknown key or a value that does not fit.
    pub fn apply_directive(&mut self, inside: &str) -> Result<(), BehaviourError> {
        for word in inside.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
            let (key, value) =
                word.split_once('=').ok_or_else(|| BehaviourError::NotAPair { word: word.to_owned() })?;
            self.set(&key.replace('-', "_"), value)?;
        }
        Ok(())
    }

    /// Sets one key.
    ///
    /// # Errors
    /// An unknown key, or a value that does not fit it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), BehaviourError> {
        match key {
            "headers_ms" => self.headers_ms = milliseconds(key, value)?,
            "first_token_ms" => self.first_token_ms = milliseconds(key, value)?,
            "drip_ms" => self.drip_ms = milliseconds(key, value)?,
            "tokens_per_second" | "tps" => self.tokens_per_second = pace(key, value)?,
            "tokens" => self.tokens = Some(number(key, value, "a number of tokens")?),
            "error_rate" => self.error_rate = rate(key, value)?,
            "status" => self.status = Some(status(key, value)?),
            "retry_after" => self.retry_after = Some(number(key, value, "a number of seconds")?),
            "fail_first" => self.fail_first = Some(number(key, value, "a number of requests")?),
            "key" => value.clone_into(&mut self.key),
            "after" => self.after = Some(number(key, value, "a number of tokens")?),
            "seed" => self.seed = number(key, value, "a whole number")?,
            "tool" => self.tool = Some(value.to_owned()),
            "fault" => self.fault = Some(fault(key, value)?),
            "obey" => self.obeys_everything = obeys_everything(key, value)?,
            "persona" => self.persona = Some(persona(key, value)?),
            _ => return Err(BehaviourError::UnknownKey { key: key.to_owned() }),
        }
        Ok(())
    }
}

fn bad(key: &str, value: &str, expected: &'static str) -> BehaviourError {
    BehaviourError::BadValue { key: key.to_owned(), value: value.to_owned(), expected }
}

fn number<T: std::str::FromStr>(key: &str, value: &str, expected: &'static str) -> Result<T, BehaviourError> {
    value.parse().map_err(|_| bad(key, value, expected))
}

fn milliseconds(key: &str, value: &str) -> Result<u64, BehaviourError> {
    const EXPECTED: &str = "milliseconds, at most 600000";
    let parsed: u64 = number(key, value, EXPECTED)?;
    if parsed <= DELAY_MS_MAX { Ok(parsed) } else { Err(bad(key, value, EXPECTED)) }
}

fn rate(key: &str, value: &str) -> Result<f64, BehaviourError> {
    const EXPECTED: &str = "a share from 0 to 1";
    let parsed: f64 = number(key, value, EXPECTED)?;
    if (0.0..=1.0).contains(&parsed) { Ok(parsed) } else { Err(bad(key, value, EXPECTED)) }
}

fn pace(key: &str, value: &str) -> Result<Option<f64>, BehaviourError> {
    const EXPECTED: &str = "tokens per second: 0 for no pacing, else at least 0.01";
    let parsed: f64 = number(key, value, EXPECTED)?;
    if parsed == 0.0 {
        return Ok(None);
    }
    if parsed.is_finite() && parsed >= 0.01 { Ok(Some(parsed)) } else { Err(bad(key, value, EXPECTED)) }
}

fn status(key: &str, value: &str) -> Result<u16, BehaviourError> {
    const EXPECTED: &str = "an HTTP status from 200 to 599";
    let parsed: u16 = number(key, value, EXPECTED)?;
    if (200..=599).contains(&parsed) { Ok(parsed) } else { Err(bad(key, value, EXPECTED)) }
}

fn obeys_everything(key: &str, value: &str) -> Result<bool, BehaviourError> {
    match value {
        "everything" => Ok(true),
        "user" => Ok(false),
        _ => Err(bad(key, value, "user or everything")),
    }
}

fn persona(key: &str, value: &str) -> Result<Persona, BehaviourError> {
    match value {
        "shop" => Ok(Persona::Shop),
        _ => Err(bad(key, value, "shop")),
    }
}

fn fault(key: &str, value: &str) -> Result<Fault, BehaviourError> {
    Fault::parse(value).ok_or_else(|| {
        bad(
            key,
            value,
            "one of hang, cut, cut-mid-event, html, refuse-body, slow-headers, reset, bad-json, endless, bad-gzip",
        )
    })
}

/// Finds the first directive of a text that is no script: the range of the whole directive, and of what stands inside it.
pub(crate) fn find_directive(text: &str) -> Option<(Range<usize>, Range<usize>)> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find(DIRECTIVE_OPEN)?;
        let inside = start + DIRECTIVE_OPEN.len();
        if is_script(text.get(inside..)?) {
            from = inside;
            continue;
        }
        let end = inside + text.get(inside..)?.find(']')?;
        return Some((start..end + 1, inside..end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_sets_the_keys_it_names() {
        fn check(inside: &str, change: impl FnOnce(&mut Behaviour)) {
            let mut expected = Behaviour::default();
            change(&mut expected);
            let mut actual = Behaviour::default();
            actual.apply_directive(inside).unwrap();
            assert_eq!(actual, expected, "{inside}");
        }
        check(" fault=cut after=3", |b| (b.fault, b.after) = (Some(Fault::Cut), Some(3)));
        check("first_token_ms=50 tokens=20 tps=100", |b| {
            (b.first_token_ms, b.tokens, b.tokens_per_second) = (50, Some(20), Some(100.0));
        });
        check("status=429,retry-after=2", |b| (b.status, b.retry_after) = (Some(429), Some(2)));
        check("obey=everything persona=shop", |b| {
            (b.obeys_everything, b.persona) = (true, Some(Persona::Shop))
        });
        check("fail_first=2 key=a", |b| (b.fail_first, b.key) = (Some(2), "a".to_owned()));
        check("", |_| ());
    }

    #[test]
    fn headers_use_dashes_and_others_are_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert("x-sim-first-token-ms", "7".parse().unwrap());
        headers.insert("x-sim-fault", "bad-json".parse().unwrap());
        headers.insert("authorization", "Bearer k".parse().unwrap());
        let mut behaviour = Behaviour::default();
        behaviour.apply_headers(&headers).unwrap();
        assert_eq!(behaviour.first_token_ms, 7);
        assert_eq!(behaviour.fault, Some(Fault::BadJson));
    }

    #[test]
    fn a_mistake_is_named_with_what_was_expected() {
        fn check(inside: &str, expected: &str) {
            let error = Behaviour::default().apply_directive(inside).unwrap_err().to_string();
            assert!(error.contains(expected), "{inside}: {error}");
        }
        check("falt=cut", "unknown simulation key `falt`");
        check("fault=explode", "one of hang, cut");
        check("status=99", "from 200 to 599");
        check("error_rate=2", "from 0 to 1");
        check("tps=-1", "at least 0.01");
        check("first_token_ms=600001", "at most 600000");
        check("cut", "not of the form key=value");
        check("obey=nobody", "user or everything");
        check("persona=bank", "shop");
    }

    #[test]
    fn every_fault_can_be_named() {
        for (name, fault) in Fault::NAMES {
            assert_eq!(Fault::parse(name), Some(fault));
        }
    }

    #[test]
    fn a_directive_is_found_anywhere_in_a_text() {
        fn check(text: &str, expected: Option<(&str, &str)>) {
            let found = find_directive(text).map(|(whole, inside)| (&text[whole], &text[inside]));
            assert_eq!(found, expected, "{text}");
        }
        check("hi [sim: a=b] there", Some(("[sim: a=b]", " a=b")));
        check("[sim:a=b]", Some(("[sim:a=b]", "a=b")));
        check("[sim: never closed", None);
        check("nothing", None);
        check("[sim: call f {}] [sim: a=b]", Some(("[sim: a=b]", " a=b")));
        check("[sim: call f {broken]", Some(("[sim: call f {broken]", " call f {broken")));
        check("好 [sim: x=1]", Some(("[sim: x=1]", " x=1")));
    }
}
