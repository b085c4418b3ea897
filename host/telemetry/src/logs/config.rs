//! The `[telemetry.logs]` slice of the runtime configuration.

use super::Records;
use crate::otlp::{Keys, Protocol, Signal as _};
use serde::Deserialize;
use std::path::PathBuf;
use tracing::Level;

/// Where logs go. Every field but `level` can be absent: then the `OTEL_*` variable of the environment holds that means the
/// same, and without that the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// The collector: `http://127.0.0.1:4318`, or `"off"`. Over HTTP, `v1/logs` is put behind its path. Absent in the
    /// environment too (`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`): no logs are exported.
    pub endpoint: Option<String>,
    /// `http/protobuf` (the default) or `grpc`; `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Option<Protocol>,
    /// Of what the log of the process has, the least severity that is exported. `info` by default.
    pub level: Severity,
    /// The environment variable that holds fields for each request, as `name=value,name=value` with the values
    /// percent-encoded. `OTEL_EXPORTER_OTLP_HEADERS` by default.
    pub headers_environment: Option<String>,
    /// A file that holds the same; lines count as commas do. Not together with `headers_environment`.
    pub headers_file: Option<PathBuf>,
    /// A PEM file of roots to trust beside the usual ones; `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub certificate_file: Option<PathBuf>,
    /// How long one attempt to send may take, milliseconds, 1 to 600,000; `OTEL_EXPORTER_OTLP_TIMEOUT`. 10,000 by default.
    pub timeout_ms: Option<u64>,
    /// Records that wait to be sent; more are dropped and counted. 1 to 1,000,000; `OTEL_BLRP_MAX_QUEUE_SIZE`. 4,096 by
    /// default.
    pub queue_records_max: Option<usize>,
}

impl LogsConfig {
    /// Says which field is out of its bounds or contradicts another, if one does.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        self.keys().validate(&Records::NAMES)
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            endpoint: self.endpoint.as_deref(),
            protocol: self.protocol,
            headers_environment: self.headers_environment.as_deref(),
            headers_file: self.headers_file.as_deref(),
            certificate_file: self.certificate_file.as_deref(),
            timeout_ms: self.timeout_ms,
            queue_records_max: self.queue_records_max,
        }
    }
}

/// How bad it is, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Severity {
    /// As OpenTelemetry counts: each level is the first of its four numbers.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warn,
            Level::ERROR => Self::Error,
        }
    }
}
