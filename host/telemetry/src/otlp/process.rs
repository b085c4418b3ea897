//! Who tells: what OpenTelemetry calls the resource, the same for all signals of a process.

use super::settings::{ExportError, Variables, pairs};
use waggle_measure::trace::TraceId;

const SERVICE_DEFAULT: &str = "waggle";

/// The process of which traces and logs tell.
#[derive(Clone, Debug)]
pub struct Process {
    version: String,
    service_name: Option<String>,
    /// Another one with each start.
    instance: TraceId,
}

impl Process {
    /// `version` is that of the program. Without `service_name`, `OTEL_SERVICE_NAME` says it, or `waggle`.
    #[must_use]
    pub fn new(version: &str, service_name: Option<&str>) -> Self {
        let service_name = service_name.map(str::to_owned);
        Self { version: version.to_owned(), service_name, instance: TraceId::random() }
    }

    /// The attributes of the resource; what `OTEL_RESOURCE_ATTRIBUTES` says goes before our own words.
    pub(super) fn attributes(&self, read: &Variables<'_>) -> Result<Vec<(String, String)>, ExportError> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let said = read.variable(ATTRIBUTES).unwrap_or_default();
        let mut resource = pairs(&said).map_err(|_wrong| ExportError::Value {
            place: ATTRIBUTES.to_owned(),
            found: said,
            expected: "of the form name=value,name=value",
        })?;
        let name = self.service_name.clone().or_else(|| read.variable("OTEL_SERVICE_NAME"));
        if let Some(name) = name {
            resource.retain(|(present, _)| present != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        let defaults = [
            ("service.name", SERVICE_DEFAULT.to_owned()),
            ("service.version", self.version.clone()),
            ("service.instance.id", self.instance.to_string()),
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
