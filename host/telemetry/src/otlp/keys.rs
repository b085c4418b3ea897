//! The keys that the slices of all signals have: `[telemetry.traces]` and `[telemetry.logs]`.

use super::signal::SignalNames;
use serde::Deserialize;
use std::path::Path;

/// The most records that may wait by configuration.
pub(super) const QUEUE_RECORDS_MAX: usize = 1_000_000;
/// The longest time one export may be given, milliseconds.
pub(super) const TIMEOUT_MS_MAX: u64 = 600_000;

/// How records are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// OTLP/HTTP with protobuf.
    #[default]
    #[serde(rename = "http/protobuf")]
    Http,
    /// OTLP/gRPC.
    #[serde(rename = "grpc")]
    Grpc,
}

/// What a slice says of the export; what is absent is left to the environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys<'a> {
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) headers_environment: Option<&'a str>,
    pub(crate) headers_file: Option<&'a Path>,
    pub(crate) certificate_file: Option<&'a Path>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) queue_records_max: Option<usize>,
}

impl Keys<'_> {
    /// Says which field is out of its bounds or contradicts another, if one does.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub(crate) fn validate(&self, names: &SignalNames) -> Result<(), String> {
        let SignalNames { signal, records, .. } = names;
        if self.headers_environment.is_some() && self.headers_file.is_some() {
            return Err(format!(
                "`{signal}.headers_environment` and `{signal}.headers_file` are both given; the fields have one place"
            ));
        }
        if let Some(timeout_ms) = self.timeout_ms
            && !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms)
        {
            return Err(format!(
                "`{signal}.timeout_ms` is {timeout_ms}; it must be from 1 to {TIMEOUT_MS_MAX}"
            ));
        }
        if let Some(count) = self.queue_records_max
            && !(1..=QUEUE_RECORDS_MAX).contains(&count)
        {
            return Err(format!(
                "`{signal}.queue_{records}_max` is {count}; it must be from 1 to {QUEUE_RECORDS_MAX}"
            ));
        }
        Ok(())
    }
}
