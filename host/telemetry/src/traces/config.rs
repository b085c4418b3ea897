//! The `[telemetry.traces]` slice of the runtime configuration.

use super::Spans;
use crate::otlp::{Keys, Protocol, Signal as _};
use serde::Deserialize;
use std::path::PathBuf;

/// Where traces go. Every field can be absent: then the `OTEL_*` variable of the environment holds that means the same,
/// and without that the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// The collector: `http://127.0.0.1:4318`, or `"off"`. Over HTTP, `v1/traces` is put behind its path. Absent in the
    /// environment too (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`): no traces.
    pub endpoint: Option<String>,
    /// `http/protobuf` (the default) or `grpc`; `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Option<Protocol>,
    /// Of the traces that begin here, the part that is recorded, 0 to 1; `OTEL_TRACES_SAMPLER_ARG`. 1 by default.
    pub sample_ratio: Option<f64>,
    /// Whether a trace that a caller began is recorded if the caller records it, whatever `sample_ratio` says;
    /// `OTEL_TRACES_SAMPLER` (those that begin with `parentbased_`). True by default.
    pub follow_caller: Option<bool>,
    /// The environment variable that holds fields for each request, as `name=value,name=value` with the values
    /// percent-encoded. `OTEL_EXPORTER_OTLP_HEADERS` by default.
    pub headers_environment: Option<String>,
    /// A file that holds the same; lines count as commas do. Not together with `headers_environment`.
    pub headers_file: Option<PathBuf>,
    /// A PEM file of roots to trust beside the usual ones; `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub certificate_file: Option<PathBuf>,
    /// How long one attempt to send may take, milliseconds, 1 to 600,000; `OTEL_EXPORTER_OTLP_TIMEOUT`. 10,000 by default.
    pub timeout_ms: Option<u64>,
    /// Spans that wait to be sent; more are dropped and counted. 1 to 1,000,000; `OTEL_BSP_MAX_QUEUE_SIZE`. 8,192 by default.
    pub queue_spans_max: Option<usize>,
    /// `service.name`, of logs too; `OTEL_SERVICE_NAME`. `waggle` by default.
    pub service_name: Option<String>,
}

impl TracesConfig {
    /// Says which field is out of its bounds or contradicts another, if one does.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(ratio) = self.sample_ratio
            && !(0.0..=1.0).contains(&ratio)
        {
            return Err(format!("`traces.sample_ratio` is {ratio}; it must be from 0 to 1"));
        }
        self.keys().validate(&Spans::NAMES)
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            endpoint: self.endpoint.as_deref(),
            protocol: self.protocol,
            headers_environment: self.headers_environment.as_deref(),
            headers_file: self.headers_file.as_deref(),
            certificate_file: self.certificate_file.as_deref(),
            timeout_ms: self.timeout_ms,
            queue_records_max: self.queue_spans_max,
        }
    }
}
