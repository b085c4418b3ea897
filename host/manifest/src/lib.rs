//! spin.toml and the runtime configuration: parse, validate, explain what is wrong and where.
//!
//! A leaf: it knows no other crate of this workspace, opens no socket, and reads only the files it is pointed at.
//!
//! - [`Manifest`] is the application: components, routes, variables. [`Manifest::load`] reports every mistake of the
//!   file at once, as [`Diagnostics`].
//! - [`RouteTable`] finds the component that serves a path.
//! - [`Variables`] gives the variables their values, and each component its own variables and its [`OutboundHosts`].
//! - [`RuntimeConfig`] is the operator's file; each crate parses its own section of it.
//!
//! ```
//! use waggle_manifest::{Manifest, Variables};
//!
//! let text = r#"
//! spin_manifest_version = 2
//! [application]
//! name = "hello"
//! [variables]
//! model = { default = "http://127.0.0.1:4010" }
//! [[trigger.http]]
//! route = "/hello/:name"
//! component = "greeter"
//! [component.greeter]
//! source = "greeter.wasm"
//! allowed_outbound_hosts = ["{{ model }}"]
//! "#;
//! let manifest = Manifest::parse("spin.toml", text, None)?;
//! let table = manifest.route_table();
//! let found = table.lookup("/hello/ada").ok_or("no route")?;
//! assert_eq!((found.component, found.parameters), ("greeter", vec![("name", "ada")]));
//!
//! let variables = Variables::resolve(&manifest, [], |name| std::env::var(name).ok())?;
//! assert!(variables.outbound_hosts("greeter").allows("http", "127.0.0.1", Some(4010)));
//!
//! let mistakes = Manifest::parse("spin.toml", &text.replace("source", "sorce"), None).unwrap_err();
//! assert!(mistakes.to_string().contains("did you mean `source`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
    OWN_INTERFACES, Route, Variable,
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
