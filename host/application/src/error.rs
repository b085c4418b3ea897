//! Why the host does not start. Each message names what, where, and what to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use waggle_manifest::Diagnostics;

/// Why a plan cannot be made or carried out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Mistakes in spin.toml, in the runtime configuration or in the values of variables.
    #[error("{0}")]
    Diagnostics(Diagnostics),
    /// A value of the command line or the environment.
    #[error("{what}: {reason}")]
    Option {
        /// The flag or variable.
        what: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A store cannot be opened.
    #[error("store `{label}`: {source}")]
    Store {
        /// The store's label.
        label: String,
        /// What the store said.
        source: waggle_kv::Error,
    },
    /// A function's component cannot be served.
    #[error("{0}")]
    Load(#[from] waggle_engine::LoadError),
    /// The state folder cannot be used.
    #[error("the state folder {} cannot be used: {source}; choose another with --state-dir", path.display())]
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Files of a component cannot be put together.
    #[error("component `{component}`: {what}: {reason}")]
    Files {
        /// The component.
        component: String,
        /// The entry of `files`.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What is wrong and what to do.
        reason: String,
    },
    /// TLS cannot be offered.
    #[error("{0}")]
    Tls(#[from] waggle_gateway::TlsError),
    /// Egress cannot be set up.
    #[error("{0}")]
    Egress(#[from] waggle_egress::ConfigError),
    /// The tenants cannot be read.
    #[error("tenants: {reason}")]
    Tenants {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The upstreams cannot be used as they are configured.
    #[error("upstreams: {reason}")]
    Upstreams {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The indexes cannot be opened.
    #[error("indexes: {reason}")]
    Indexes {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Tools cannot be had: the registry does not answer, or the machine lacks the address space for their calls.
    #[error("tools: {reason}")]
    Tools {
        /// What was wrong.
        reason: String,
    },
    /// The admin API cannot be offered.
    #[error("the admin API: {reason}")]
    Admin {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Traces or the access log cannot be written as they are configured.
    #[error("[telemetry]: {reason}")]
    Telemetry {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The operations listener cannot be offered.
    #[error("{reason}")]
    Operations {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The gateway's configuration cannot be used.
    #[error("[gateway]: {0}")]
    TrustedProxies(#[from] waggle_tenancy::TrustedProxyError),
    /// A build command failed.
    #[error("component `{component}`: `{command}` {outcome}")]
    Build {
        /// The component.
        component: String,
        /// The command.
        command: String,
        /// How it ended.
        outcome: String,
    },
}

impl From<Diagnostics> for StartError {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}
