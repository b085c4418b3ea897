//! The log of the process: to standard error, readable for people or as one JSON object per line.

use std::env;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use crate::logs::Relay;
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable that replaces [`LogOptions::level`] by a finer filter, in the form of `RUST_LOG`:
/// `warn,waggle_egress=debug`.
pub const FILTER_VARIABLE: &str = "WAGGLE_LOG";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people at a terminal; coloured if it is one.
    #[default]
    Readable,
    /// One JSON object per line, for a log collector. All fields stand at the top level.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "readable" => Ok(Self::Readable),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format { found: text.to_owned() }),
        }
    }
}

/// How the log starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    pub format: LogFormat,
    /// The least important level that is logged. [`FILTER_VARIABLE`] replaces it.
    pub level: Level,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Readable, level: Level::INFO }
    }
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{found:?} is no log format; it is readable or json")]
    Format { found: String },
    #[error(
        "{FILTER_VARIABLE}={found:?} is no filter ({reason}); write it as info or warn,waggle_egress=debug"
    )]
    Filter { found: String, reason: String },
    #[error("the log has been started already")]
    AlreadyStarted,
}

/// Starts the log of the process, on standard error. What is logged goes to a collector as well while
/// [`Logs`](crate::logs::Logs) are exported.
///
/// # Errors
/// When [`FILTER_VARIABLE`] cannot be read, or the process has a log already.
pub fn init(options: LogOptions) -> Result<(), LogError> {
    let wish = env::var_os(FILTER_VARIABLE).map(|value| value.to_string_lossy().into_owned());
    let filter = filter(options.level, wish.as_deref())?;
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let relay = Relay::of_process();
    let started = match options.format {
        LogFormat::Readable => readable(filter, colours, io::stderr).with(relay).try_init(),
        LogFormat::Json => json(filter, io::stderr).with(relay).try_init(),
    };
    started.map_err(|_| LogError::AlreadyStarted)
}

/// The filter: what the environment says, else everything from `level` up.
fn filter(level: Level, wish: Option<&str>) -> Result<EnvFilter, LogError> {
    match wish.map(str::trim).filter(|wish| !wish.is_empty()) {
        Some(wish) => EnvFilter::builder()
            .parse(wish)
            .map_err(|error| LogError::Filter { found: wish.to_owned(), reason: error.to_string() }),
        None => Ok(EnvFilter::default().add_directive(level.into())),
    }
}

pub(crate) fn readable<W>(filter: EnvFilter, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer).finish()
}

pub(crate) fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;
    use crate::testing::Captured;

    fn logged(level: Level, wish: Option<&str>) -> String {
        let captured = Captured::default();
        with_default(readable(filter(level, wish).unwrap(), false, captured.clone()), || {
            tracing::debug!(target: "waggle_egress", "a detail");
            tracing::info!(target: "waggle_egress", "an event");
            tracing::warn!(target: "elsewhere", "a warning");
        });
        captured.text()
    }

    #[test]
    fn the_level_decides_unless_the_environment_does() {
        let check = |level, wish, expected: [bool; 3]| {
            let text = logged(level, wish);
            let found = ["a detail", "an event", "a warning"].map(|part| text.contains(part));
            assert_eq!(found, expected, "{level} {wish:?}: {text}");
        };
        check(Level::INFO, None, [false, true, true]);
        check(Level::DEBUG, None, [true, true, true]);
        check(Level::WARN, None, [false, false, true]);
        check(Level::INFO, Some(" "), [false, true, true]);
        check(Level::INFO, Some("error,waggle_egress=debug"), [true, true, false]);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_told_by_name() {
        let message = filter(Level::INFO, Some("waggle=loud")).unwrap_err().to_string();
        assert!(message.contains("WAGGLE_LOG=\"waggle=loud\""), "{message}");
    }

    #[test]
    fn json_has_one_object_per_line_with_all_fields_at_the_top() {
        let captured = Captured::default();
        with_default(json(filter(Level::INFO, None).unwrap(), captured.clone()), || {
            tracing::info!(tenant = "bank", "two\nlines");
            tracing::info!("next");
        });
        let text = captured.text();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "two\nlines");
        assert_eq!(lines[0]["tenant"], "bank");
        assert_eq!(lines[0]["level"], "INFO");
    }

    #[test]
    fn a_format_is_read_by_its_name() {
        assert_eq!("readable".parse::<LogFormat>().unwrap(), LogFormat::Readable);
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        let message = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(message.contains("\"xml\"") && message.contains("readable or json"), "{message}");
    }
}
