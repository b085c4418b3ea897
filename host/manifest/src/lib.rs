//! spin.toml and the runtime configuration: parse, validate, explain what is wrong and where.
mod diagnostics;
mod document;
mod located;
mod manifest;
mod names;
mod outbound;
mod reader;
mod routes;
mod runtime_config;
mod suggest;
mod template;
mod value;
mod variables;

pub use diagnostics::{DIAGNOSTICS_MAX, Diagnostic, Diagnostics, Location, Severity, SourceFile};
pub use document::FILE_BYTES_MAX;
pub use located::Located;
pub use manifest::{
    AllowedHost, Application, Build, Component, FileMount, HttpTrigger, LoadOptions, MANIFEST_FILE, Manifest,
    Route, Variable,
};
pub use outbound::{
    HostPattern, OutboundHost, OutboundHostError, OutboundHosts, PortPattern, SERVICE_CHAINING_DOMAIN,
    SchemePattern, default_port, service_chaining_target,
};
pub use routes::{ROUTE_BYTES_MAX, RouteError, RouteMatch, RoutePattern, RouteTable};
pub use runtime_config::RuntimeConfig;
pub use template::{Part, Template, TemplateError};
pub use value::VariableValue;
pub use variables::{ENVIRONMENT_PREFIX, Variables, environment_name};
