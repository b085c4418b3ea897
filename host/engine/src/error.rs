//! What can go wrong with a component and with a request to it. What a client reads is not written here: the
//! gateway chooses it by the variant.

use std::fmt;
use std::path::PathBuf;

/// Why a component cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("function `{function}`: cannot read {}: {source}", path.display())]
    Read {
        /// The function's name in spin.toml.
        function: String,
        /// The component file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is something else than a component.
    #[error("function `{function}`: {} {what}", path.display())]
    NotAComponent {
        /// The function's name in spin.toml.
        function: String,
        /// The component file.
        path: PathBuf,
        /// What it is instead, and what to do.
        what: String,
    },
    /// The component does not compile.
    #[error("function `{function}`: {} does not compile: {reason}", path.display())]
    Compile {
        /// The function's name in spin.toml.
        function: String,
        /// The component file.
        path: PathBuf,
        /// What the compiler said.
        reason: String,
    },
    /// The component imports something that this host does not provide.
    #[error("function `{function}`: {} cannot be linked: {reason}", path.display())]
    Link {
        /// The function's name in spin.toml.
        function: String,
        /// The component file.
        path: PathBuf,
        /// Names the import.
        reason: String,
    },
    /// The component exports no HTTP handler.
    #[error(
        "function `{function}`: {} exports no HTTP handler; expected `wasi:http/handler@0.3.0` or \
         `wasi:http/incoming-handler@0.2.x`, found {exports}",
        path.display()
    )]
    NoHandler {
        /// The function's name in spin.toml.
        function: String,
        /// The component file.
        path: PathBuf,
        /// What it does export.
        exports: String,
    },
    /// The engine itself cannot be set up on this machine.
    #[error("the engine cannot start: {0}")]
    Engine(String),
}

/// Why a request got no response from its function.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// No function of that name is loaded.
    #[error("no function is named `{0}`")]
    UnknownFunction(String),
    /// A limit leaves no instance to the request: all are busy and the wait for one is over, too many requests wait
    /// already, or there is no memory for another.
    #[error("no instance of `{function}` for the request: {reason}, at {} limit of {limit}", limit.owner())]
    Busy {
        /// The function.
        function: String,
        /// The limit, and whose it is.
        limit: Limit,
        /// What was tried.
        reason: String,
    },
    /// The instance could not be made.
    #[error("`{function}` could not be instantiated: {reason}")]
    Instantiate {
        /// The function.
        function: String,
        /// What wasmtime said.
        reason: String,
        /// The limit over which it was refused memory before, if it was: the likely cause.
        refused: Option<Limit>,
    },
    /// The function trapped: a panic, an unreachable instruction, memory out of bounds …
    #[error("`{function}` trapped: {reason}")]
    Trap {
        /// The function.
        function: String,
        /// The trap, with the guest's backtrace where there is one.
        reason: String,
        /// The limit over which it was refused memory before, if it was: the likely cause.
        refused: Option<Limit>,
    },
    /// The function used more CPU time than its requests allow.
    #[error("`{function}` used more CPU time than allowed ({allowed_ms} ms a request)")]
    CpuTime {
        /// The function.
        function: String,
        /// The bound of one request, milliseconds.
        allowed_ms: u64,
    },
    /// No response head within the request's time.
    #[error("`{function}` produced no response within {allowed_ms} ms")]
    Deadline {
        /// The function.
        function: String,
        /// The bound, milliseconds.
        allowed_ms: u64,
        /// The limit for which the function was paused again and again when the time was over, if it was.
        paused: Option<Limit>,
    },
    /// The function returned an error code instead of a response, or no response at all.
    #[error("`{function}` returned no response: {reason}")]
    NoResponse {
        /// The function.
        function: String,
        /// The error code, or what is missing.
        reason: String,
    },
    /// What the function wrote could not be made durable.
    #[error("what `{function}` wrote could not be made durable: {reason}")]
    Store {
        /// The function.
        function: String,
        /// What the store said.
        reason: String,
    },
}

/// A limit of the engine that is used up. Its text names what is limited, how much of it there is, and the key by which
/// it is configured: `4 instances at once (instances_max)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Instances alive at once, over all tenants.
    HostInstances(u32),
    /// Instances alive at once of the tenant, over all its functions.
    TenantInstances(u32),
    /// Linear memory of all instances of the tenant, bytes.
    TenantMemory(u64),
    /// Linear memory of one instance, bytes.
    InstanceMemory(u64),
    /// Elements of one table of an instance.
    InstanceTable(u64),
    /// CPU time of all instances of the tenant in a second, milliseconds.
    TenantCpu(u32),
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOwner {
    /// The host's: all tenants share what it bounds.
    Host,
    /// The tenant's own: others have nothing to do with it.
    Tenant,
}

impl Limit {
    /// The key of the limit, in `[engine]` for the host's, in the tenant's `limits` for its own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HostInstances(_) | Self::TenantInstances(_) => "instances_max",
            Self::TenantMemory(_) => "memory_bytes_max",
            Self::InstanceMemory(_) => "instance_memory_bytes_max",
            Self::InstanceTable(_) => "instance_table_elements_max",
            Self::TenantCpu(_) => "cpu_ms_per_second",
        }
    }

    /// Who is over it: everybody together, or the tenant alone.
    #[must_use]
    pub fn owner(self) -> LimitOwner {
        match self {
            Self::HostInstances(_) => LimitOwner::Host,
            _ => LimitOwner::Tenant,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostInstances(count) | Self::TenantInstances(count) => {
                write!(f, "{count} instances at once")?;
            }
            Self::TenantMemory(bytes) => write!(f, "{bytes} bytes of memory for all instances together")?,
            Self::InstanceMemory(bytes) => write!(f, "{bytes} bytes of memory for one instance")?,
            Self::InstanceTable(elements) => write!(f, "{elements} elements in one table")?,
            Self::TenantCpu(milliseconds) => write!(f, "{milliseconds} ms of CPU time in a second")?,
        }
        write!(f, " ({})", self.name())
    }
}

impl fmt::Display for LimitOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host's",
            Self::Tenant => "the tenant's",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_which_limit_it_was_and_whose() {
        let check = |limit: Limit, expected: &str| {
            let (function, reason) = ("chat".to_owned(), "waited 2000 ms".to_owned());
            assert_eq!(HandleError::Busy { function, limit, reason }.to_string(), expected);
        };
        check(
            Limit::TenantInstances(4),
            "no instance of `chat` for the request: waited 2000 ms, at the tenant's limit of 4 instances at once \
             (instances_max)",
        );
        check(
            Limit::HostInstances(10),
            "no instance of `chat` for the request: waited 2000 ms, at the host's limit of 10 instances at once \
             (instances_max)",
        );
        check(
            Limit::TenantMemory(65_536),
            "no instance of `chat` for the request: waited 2000 ms, at the tenant's limit of 65536 bytes of memory for \
             all instances together (memory_bytes_max)",
        );
    }
}
