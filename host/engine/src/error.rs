//! What can go wrong with a component and with a request to it. What a client reads is not written here: the
//! gateway chooses it by the variant.

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
    /// All instances are busy and the wait for one is over, or too many requests wait already.
    #[error("no instance of `{function}` became free: {reason}")]
    Busy {
        /// The function.
        function: String,
        /// Which limit was met.
        reason: String,
    },
    /// The instance could not be made.
    #[error("`{function}` could not be instantiated: {reason}")]
    Instantiate {
        /// The function.
        function: String,
        /// What wasmtime said.
        reason: String,
    },
    /// The function trapped: a panic, an unreachable instruction, memory out of bounds …
    #[error("`{function}` trapped: {reason}")]
    Trap {
        /// The function.
        function: String,
        /// The trap, with the guest's backtrace where there is one.
        reason: String,
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
