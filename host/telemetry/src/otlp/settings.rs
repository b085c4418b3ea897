//! What the configuration and the environment say together, understood and checked.

use super::endpoint::Endpoint;
use super::keys::{Keys, Protocol, QUEUE_RECORDS_MAX, TIMEOUT_MS_MAX};
use super::process::Process;
use super::signal::SignalNames;
use super::tls;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// The most fields for each request, and attributes of the resource.
const PAIRS_MAX: usize = 64;

/// Why there are no traces or logs, though there should be. None of them holds a field's value.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the endpoint of {signal}, from {place}, cannot be used: {reason}")]
    Endpoint { signal: &'static str, place: String, reason: String },
    #[error("{place} is {found:?}; it must be {expected}")]
    Value { place: String, found: String, expected: &'static str },
    #[error("the fields for the collector, from {place}, cannot be used: {reason}")]
    Headers { place: String, reason: String },
    #[error("the certificates {} cannot be used: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("the thread that sends {signal} cannot be started: {source}")]
    Thread { signal: &'static str, source: std::io::Error },
}

/// All that the export needs to know.
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    /// Marked as sensitive, so that none is shown.
    pub(crate) headers: HeaderMap,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) timeout: Duration,
    pub(crate) queue_records_max: usize,
    /// What is said of the process with each batch.
    pub(crate) resource: Vec<(String, String)>,
}

/// The environment, by which tests can be run without it.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// None when the signal is off. Relative paths are relative to `folder`.
    pub(crate) fn resolve(
        names: &'static SignalNames,
        keys: &Keys<'_>,
        process: &Process,
        folder: &Path,
        environment: Environment<'_>,
    ) -> Result<Option<Self>, ExportError> {
        let read = SignalVariables { all: Variables(environment), names };
        let protocol = read.protocol(keys)?;
        let Some(endpoint) = read.endpoint(keys, protocol)? else { return Ok(None) };
        let roots = keys.certificate_file.map(|file| folder.join(file));
        let roots = roots.or_else(|| read.signal("CERTIFICATE").map(|(_, path)| path.into()));
        let tls = endpoint.is_tls.then(|| tls::client_config(protocol, roots.as_deref())).transpose()?;
        let timeout_ms = match keys.timeout_ms {
            Some(timeout_ms) => Some(timeout_ms),
            None => number(read.signal("TIMEOUT"))?,
        };
        let queue = match keys.queue_records_max {
            Some(records) => Some(records),
            None => {
                let name = names.queue_variable;
                number(read.all.variable(name).map(|value| (name.to_owned(), value)))?
            }
        };
        Ok(Some(Self {
            endpoint,
            protocol,
            headers: read.headers(keys, folder)?,
            tls,
            timeout: Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT).clamp(1, TIMEOUT_MS_MAX)),
            queue_records_max: queue.unwrap_or(names.queue_records_default).clamp(1, QUEUE_RECORDS_MAX),
            resource: process.attributes(&read.all)?,
        }))
    }
}

/// The variables of the environment.
pub(crate) struct Variables<'a>(pub(crate) Environment<'a>);

impl Variables<'_> {
    /// A variable; an empty one counts as absent, as the standard has it.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

/// Those of one signal.
struct SignalVariables<'a> {
    all: Variables<'a>,
    names: &'static SignalNames,
}

impl SignalVariables<'_> {
    /// The variable of the signal, else that of all signals, and its name.
    fn signal(&self, end: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{}_{end}", self.names.variable), format!("OTEL_EXPORTER_OTLP_{end}")]
            .into_iter()
            .find_map(|name| self.all.variable(&name).map(|value| (name, value)))
    }

    fn protocol(&self, keys: &Keys<'_>) -> Result<Protocol, ExportError> {
        if let Some(protocol) = keys.protocol {
            return Ok(protocol);
        }
        match self.signal("PROTOCOL") {
            None => Ok(Protocol::default()),
            Some((_, value)) if value == "http/protobuf" => Ok(Protocol::Http),
            Some((_, value)) if value == "grpc" => Ok(Protocol::Grpc),
            Some((place, found)) => Err(ExportError::Value {
                place,
                found,
                expected: "http/protobuf or grpc; http/json is not written",
            }),
        }
    }

    /// Whether the environment says that nothing it turns on is to be on.
    fn is_off(&self) -> bool {
        let exporter = format!("OTEL_{}_EXPORTER", self.names.variable);
        self.all.variable("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"))
            || self.all.variable(&exporter).is_some_and(|word| word == "none")
    }

    fn endpoint(&self, keys: &Keys<'_>, protocol: Protocol) -> Result<Option<Endpoint>, ExportError> {
        let signal = self.names.signal;
        let (place, text, is_base) = match keys.endpoint {
            Some("off") => return Ok(None),
            Some(text) => (format!("`endpoint` in [telemetry.{signal}]"), text.to_owned(), true),
            None => match self.signal("ENDPOINT") {
                Some((place, text)) if !self.is_off() => {
                    let is_base = place == "OTEL_EXPORTER_OTLP_ENDPOINT";
                    (place, text, is_base)
                }
                _ => return Ok(None),
            },
        };
        Endpoint::parse(&text, protocol, is_base, self.names)
            .map(Some)
            .map_err(|reason| ExportError::Endpoint { signal, place, reason })
    }

    fn headers(&self, keys: &Keys<'_>, folder: &Path) -> Result<HeaderMap, ExportError> {
        let (place, text) = match (keys.headers_file, keys.headers_environment) {
            (Some(file), _) => {
                let path = folder.join(file);
                let place = path.display().to_string();
                match std::fs::read_to_string(&path) {
                    Ok(text) => (place, text),
                    Err(error) => return Err(ExportError::Headers { place, reason: error.to_string() }),
                }
            }
            (None, Some(name)) => match self.all.variable(name) {
                Some(text) => (name.to_owned(), text),
                None => {
                    let reason = "the variable is not set".to_owned();
                    return Err(ExportError::Headers { place: name.to_owned(), reason });
                }
            },
            (None, None) => match self.signal("HEADERS") {
                Some(found) => found,
                None => return Ok(HeaderMap::new()),
            },
        };
        let mut headers = HeaderMap::new();
        let pairs = pairs(&text).map_err(|reason| ExportError::Headers { place: place.clone(), reason })?;
        for (name, value) in pairs {
            let wrong = |what: &str| ExportError::Headers {
                place: place.clone(),
                reason: format!("{name:?} {what}"),
            };
            let field = HeaderName::try_from(&name).map_err(|_invalid| wrong("is no name of a field"))?;
            let mut value = HeaderValue::try_from(value)
                .map_err(|_invalid| wrong("has a value that no field can have"))?;
            value.set_sensitive(true);
            headers.insert(field, value);
        }
        Ok(headers)
    }
}

fn number<N: std::str::FromStr>(found: Option<(String, String)>) -> Result<Option<N>, ExportError> {
    let Some((place, found)) = found else { return Ok(None) };
    found.parse().map(Some).map_err(|_unreadable| ExportError::Value {
        place,
        found,
        expected: "a whole number",
    })
}

/// Pairs of the form `name=value`, separated by commas or lines, the values percent-encoded (W3C Baggage's form).
///
/// # Errors
/// Which pair is wrong, by its number.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for pair in text.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty()) {
        let number = found.len() + 1;
        if number > PAIRS_MAX {
            return Err(format!("there are more than {PAIRS_MAX} pairs"));
        }
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("pair {number} has no equals sign; write name=value,name=value"));
        };
        let value = percent_decoded(value.trim())
            .ok_or_else(|| format!("the value of pair {number} is not percent-encoded rightly"))?;
        found.push((name.trim().to_owned(), value));
    }
    Ok(found)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}
