//! What the configuration and the environment say together, understood and checked.

use super::config::{Protocol, TracesConfig};
use super::endpoint::Endpoint;
use super::tls;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use waggle_measure::trace::Sampling;

const TIMEOUT_MS_DEFAULT: u64 = 10_000;
const QUEUE_SPANS_DEFAULT: usize = 8_192;
const SERVICE_DEFAULT: &str = "waggle";
/// The most fields for each request, and attributes of the resource.
const PAIRS_MAX: usize = 64;

/// Why there are no traces, though there should be. None of them holds a field's value.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("the endpoint of traces, from {place}, cannot be used: {reason}")]
    Endpoint { place: String, reason: String },
    #[error("{place} is {found:?}; it must be {expected}")]
    Value { place: String, found: String, expected: &'static str },
    #[error("the fields for the collector, from {place}, cannot be used: {reason}")]
    Headers { place: String, reason: String },
    #[error("the certificates {} cannot be used: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("the thread that sends traces cannot be started: {0}")]
    Thread(std::io::Error),
}

/// All that the export needs to know.
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Protocol,
    /// Marked as sensitive, so that none is shown.
    pub(super) headers: HeaderMap,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) timeout: Duration,
    pub(super) queue_spans_max: usize,
    pub(super) sampling: Sampling,
    /// What is said of the process with each batch.
    pub(super) resource: Vec<(String, String)>,
}

/// The environment, by which tests can be run without it.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// None when traces are off.
    pub(super) fn resolve(
        config: &TracesConfig,
        folder: &Path,
        version: &str,
        environment: Environment<'_>,
    ) -> Result<Option<Self>, TracesError> {
        let read = Reader { environment };
        let protocol = read.protocol(config)?;
        let Some(endpoint) = read.endpoint(config, protocol)? else { return Ok(None) };
        let roots = config.certificate_file.as_ref().map(|file| folder.join(file));
        let roots = roots.or_else(|| read.signal("CERTIFICATE").map(|(_, path)| path.into()));
        let tls = endpoint.is_tls.then(|| tls::client_config(protocol, roots.as_deref())).transpose()?;
        let timeout_ms = match config.timeout_ms {
            Some(timeout_ms) => timeout_ms,
            None => read
                .number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")?
                .unwrap_or(TIMEOUT_MS_DEFAULT),
        };
        let queue = match config.queue_spans_max {
            Some(spans) => spans,
            None => read
                .number("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE")?
                .unwrap_or(QUEUE_SPANS_DEFAULT),
        };
        Ok(Some(Self {
            endpoint,
            protocol,
            headers: read.headers(config, folder)?,
            tls,
            timeout: Duration::from_millis(timeout_ms.clamp(1, 600_000)),
            queue_spans_max: queue.clamp(1, 1_000_000),
            sampling: read.sampling(config)?,
            resource: read.resource(config, version)?,
        }))
    }
}

struct Reader<'a> {
    environment: Environment<'a>,
}

impl Reader<'_> {
    /// A variable; an empty one counts as absent, as the standard has it.
    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The variable of traces, else that of all signals, and its name.
    fn signal(&self, end: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_TRACES_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")]
            .into_iter()
            .find_map(|name| self.variable(&name).map(|value| (name, value)))
    }

    fn protocol(&self, config: &TracesConfig) -> Result<Protocol, TracesError> {
        if let Some(protocol) = config.protocol {
            return Ok(protocol);
        }
        match self.signal("PROTOCOL") {
            None => Ok(Protocol::default()),
            Some((_, value)) if value == "http/protobuf" => Ok(Protocol::Http),
            Some((_, value)) if value == "grpc" => Ok(Protocol::Grpc),
            Some((place, found)) => Err(TracesError::Value {
                place,
                found,
                expected: "http/protobuf or grpc; http/json is not written",
            }),
        }
    }

    fn endpoint(&self, config: &TracesConfig, protocol: Protocol) -> Result<Option<Endpoint>, TracesError> {
        let (place, text, is_base) = match &config.endpoint {
            Some(text) if text == "off" => return Ok(None),
            Some(text) => ("`endpoint` in [telemetry.traces]".to_owned(), text.clone(), true),
            None => {
                let is_off =
                    self.variable("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"))
                        || self.variable("OTEL_TRACES_EXPORTER").is_some_and(|word| word == "none");
                match self.signal("ENDPOINT") {
                    Some((place, text)) if !is_off => {
                        let is_base = !place.contains("_TRACES_");
                        (place, text, is_base)
                    }
                    _ => return Ok(None),
                }
            }
        };
        Endpoint::parse(&text, protocol, is_base)
            .map(Some)
            .map_err(|reason| TracesError::Endpoint { place, reason })
    }

    fn headers(&self, config: &TracesConfig, folder: &Path) -> Result<HeaderMap, TracesError> {
        let (place, text) = match (&config.headers_file, &config.headers_environment) {
            (Some(file), _) => {
                let path = folder.join(file);
                let place = path.display().to_string();
                match std::fs::read_to_string(&path) {
                    Ok(text) => (place, text),
                    Err(error) => return Err(TracesError::Headers { place, reason: error.to_string() }),
                }
            }
            (None, Some(name)) => match self.variable(name) {
                Some(text) => (name.clone(), text),
                None => {
                    let reason = "the variable is not set".to_owned();
                    return Err(TracesError::Headers { place: name.clone(), reason });
                }
            },
            (None, None) => match self.signal("HEADERS") {
                Some(found) => found,
                None => return Ok(HeaderMap::new()),
            },
        };
        let mut headers = HeaderMap::new();
        let pairs = pairs(&text).map_err(|reason| TracesError::Headers { place: place.clone(), reason })?;
        for (name, value) in pairs {
            let wrong = |what: &str| TracesError::Headers {
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

    fn sampling(&self, config: &TracesConfig) -> Result<Sampling, TracesError> {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let word = self.variable(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_caller, base) = match word.strip_prefix("parentbased_") {
            Some(base) => (true, base),
            None => (false, word.as_str()),
        };
        let ratio = match (config.sample_ratio, base) {
            (Some(ratio), _) => ratio,
            (None, "always_on") => 1.0,
            (None, "always_off") => 0.0,
            (None, "traceidratio") => self.ratio()?,
            (None, _) => {
                let expected = "always_on, always_off or traceidratio, or one of them behind parentbased_";
                return Err(TracesError::Value { place: SAMPLER.to_owned(), found: word, expected });
            }
        };
        Ok(Sampling { ratio, follows_caller: config.follow_caller.unwrap_or(follows_caller) })
    }

    fn ratio(&self) -> Result<f64, TracesError> {
        const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(found) = self.variable(RATIO) else { return Ok(1.0) };
        match found.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(TracesError::Value { place: RATIO.to_owned(), found, expected: "a number from 0 to 1" }),
        }
    }

    fn number<N: std::str::FromStr>(&self, name: &str, other: &str) -> Result<Option<N>, TracesError> {
        let found = [name, other].into_iter().find_map(|name| self.variable(name).map(|value| (name, value)));
        let Some((place, found)) = found else { return Ok(None) };
        found.parse().map(Some).map_err(|_unreadable| TracesError::Value {
            place: place.to_owned(),
            found,
            expected: "a whole number",
        })
    }

    fn resource(&self, config: &TracesConfig, version: &str) -> Result<Vec<(String, String)>, TracesError> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let said = self.variable(ATTRIBUTES).unwrap_or_default();
        let mut resource = pairs(&said).map_err(|_wrong| TracesError::Value {
            place: ATTRIBUTES.to_owned(),
            found: said,
            expected: "of the form name=value,name=value",
        })?;
        let name = config.service_name.clone().or_else(|| self.variable("OTEL_SERVICE_NAME"));
        if let Some(name) = name {
            resource.retain(|(present, _)| present != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        let defaults = [
            ("service.name", SERVICE_DEFAULT.to_owned()),
            ("service.version", version.to_owned()),
            ("service.instance.id", waggle_measure::trace::TraceId::random().to_string()),
            ("process.pid", std::process::id().to_string()),
        ];
        for (name, value) in defaults {
            if resource.iter().all(|(present, _)| present != name) {
                resource.push((name.to_owned(), value));
            }
        }
        Ok(resource)
    }
}

/// Pairs of the form `name=value`, separated by commas or lines, the values percent-encoded (W3C Baggage's form).
///
/// # Errors
/// Which pair is wrong, by its number.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
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

#[cfg(test)]
mod tests;
