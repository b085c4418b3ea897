//! Everything a component instance can reach, in one struct. Adding a capability touches this struct, the
//! capability's own crate and its configuration, and nothing else.

use crate::account::TenantBounds;
use crate::internal::InternalCalls;
use crate::request::{CallContext, CallerFields};
use crate::tenant_use::TenantUse;
use async_trait::async_trait;
use http::HeaderValue;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use waggle_egress::{Credentials, Egress};
use waggle_kv::{Partition, Store};
use waggle_measure::trace::Parent;
use waggle_tenancy::TenantId;
use waggle_vector::TenantIndexes;
use wasmtime_wasi_http::{Error as BodyError, WasiBody};

/// The capabilities of one function for one tenant. It is made by the host before the first instance and shared by
/// all instances of that (tenant, function); nothing in it can be changed or widened by a guest.
pub struct FunctionWorld {
    /// Whose world it is. A guest can neither read nor name it.
    pub tenant: TenantId,
    /// The function's name in spin.toml.
    pub function: Arc<str>,
    /// `environment` of the component.
    pub environment: Vec<(String, String)>,
    /// Read-only folders the guest sees: (folder on the host, path in the guest).
    pub mounts: Vec<(PathBuf, String)>,
    /// The stores of `key_value_stores`, by label, each with the tenant's own partition.
    pub stores: BTreeMap<Arc<str>, StoreHandle>,
    /// The component's variables with their values.
    pub variables: BTreeMap<String, String>,
    /// Where the function may call.
    pub outbound: Arc<dyn OutboundPolicy>,
    /// Carries the calls that leave the process.
    pub egress: Arc<Egress>,
    /// Carries the calls to other functions of the application.
    pub internal: Arc<dyn InternalCalls>,
    /// Where the instance's standard output and error go.
    pub log: Arc<dyn LogSink>,
    /// Carries the tenant's calls to models.
    pub models: Arc<dyn ModelCalls>,
    /// The tenant's indexes; none where the host has not opened any, because no function asks for them.
    pub vectors: Option<Arc<TenantIndexes>>,
    /// Counts tokens as models do.
    pub token_counts: Arc<dyn TokenCounts>,
    /// Takes work of this function that is to be done later.
    pub work: Arc<dyn WorkCalls>,
    /// The tenant's tools; none where the function may not call them, which its allow-list says.
    pub tools: Option<Arc<dyn ToolCalls>>,
    /// The tenant's own keys at upstreams; the host puts them on, before those that all tenants share.
    pub credentials: Arc<Credentials>,
    /// Told what models used that were called past [`ModelCalls`], where the tenant's use is limited.
    pub tokens: Option<Arc<dyn TokenSink>>,
    /// What an instance, and all of the tenant's together, may use.
    pub bounds: InstanceBounds,
}

/// What one instance of the function may use, and all instances of its tenant.
#[derive(Clone, Copy, Debug)]
pub struct InstanceBounds {
    /// Linear memory, bytes; the host's own bound holds as well.
    pub memory_bytes_max: usize,
    /// CPU time of one request.
    pub request_cpu: Duration,
    /// Whether each request has an instance of its own.
    pub isolate_requests: bool,
    /// What all instances of the tenant may use together, whatever their function.
    pub tenant: TenantBounds,
}

impl InstanceBounds {
    /// CPU time of one request, milliseconds.
    pub(crate) fn request_cpu_ms(&self) -> u64 {
        u64::try_from(self.request_cpu.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Calls to models, which are addressed by their names and not by where they are. Made for one tenant, as all of a world.
#[async_trait]
pub trait ModelCalls: Send + Sync + 'static {
    /// Whether a call to `host` is one to a model.
    fn takes(&self, host: &str) -> bool;

    /// Makes the call. Whatever goes wrong on the way to a model, or there, is a response too.
    ///
    /// # Errors
    /// What was wrong with the request itself, or that it was cancelled.
    async fn call(
        &self,
        request: http::Request<WasiBody>,
        context: ModelCallContext,
    ) -> Result<http::Response<WasiBody>, BodyError>;
}

/// Calls by which a function hands work to the host, to be done later by a call of itself. Made for one tenant and
/// function, as all of a world.
#[async_trait]
pub trait WorkCalls: Send + Sync + 'static {
    /// Whether a call to `host` is one of these.
    fn takes(&self, host: &str) -> bool;

    /// Makes the call. `caller` is who asked for what the function does, and for whom the work will be done. Whatever is
    /// wrong is a response too.
    async fn call(&self, request: http::Request<WasiBody>, caller: CallerFields) -> http::Response<WasiBody>;
}

/// A tenant's tools, as its functions have them: what there is, calls of those that the host runs, and the terms on which a
/// function calls the others itself. Made for one tenant and function, as all of a world.
#[async_trait]
pub trait ToolCalls: Send + Sync + 'static {
    /// Whether a call to `host` is one to the host's own address of tools.
    fn takes(&self, host: &str) -> bool;

    /// Answers it. Whatever is wrong is a response too. It is dropped where the request is over for which it is asked.
    async fn call(
        &self,
        request: http::Request<WasiBody>,
        context: ToolCallContext,
    ) -> http::Response<WasiBody>;

    /// On which terms a call leaves that is made in the name of the tool `name`, for `caller`. They hold in place of the
    /// function's own allow-list, and of all the tenant's credentials.
    ///
    /// # Errors
    /// Why it may not be made.
    fn terms(&self, name: &str, caller: &CallerFields) -> Result<ToolTerms, ToolRefusal>;
}

/// For whom and until when the host's address of tools is called.
#[derive(Clone, Debug)]
pub struct ToolCallContext {
    /// The request it is asked for: its deadlines, its caller, its trace.
    pub call: CallContext,
    /// At whose expense it is.
    pub account: TenantUse,
}

/// On which terms one call leaves in the name of a tool.
pub struct ToolTerms {
    /// Where it may go: the tool's grants, within the tenant's own list.
    pub outbound: Arc<dyn OutboundPolicy>,
    /// The tenant's credentials that the tool was granted; no others are put on, the operator's neither.
    pub credentials: Arc<Credentials>,
    /// How long it may take, the body of its response included.
    pub timeout: Duration,
    /// Bytes of its response's body; over it the body breaks off.
    pub response_bytes_max: u64,
    /// Its place among the calls of the tool, kept until the response has ended.
    pub place: Box<dyn std::any::Any + Send>,
}

/// Why no call is made in the name of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolRefusal {
    /// The tenant has no tool of this name that is accepted, enabled and called by a function.
    #[error("no tool of this name is accepted and enabled")]
    Unknown,
    /// The destination is a function, a model or an address of the host's.
    #[error("a tool calls nothing inside of the host")]
    Inside,
    /// There are as many calls as there may be at once.
    #[error("there are as many calls as there may be at once")]
    Busy,
}

/// For whom and until when a model is called.
#[derive(Clone, Debug)]
pub struct ModelCallContext {
    /// When the client's request ends, whatever has come by then.
    pub deadline: Instant,
    /// How long the function waits for the head of the answer, if it said so.
    pub first_byte_timeout: Option<Duration>,
    /// How long it waits for a connection, if it said so.
    pub connect_timeout: Option<Duration>,
    /// How long the answer may pause, if it said so.
    pub between_bytes_timeout: Option<Duration>,
    /// Ends the call, its response's body included.
    pub cancelled: Option<CancellationToken>,
    /// The tenant's user who asks, if one does.
    pub user: Option<HeaderValue>,
    /// As whose child the call is traced.
    pub span: Parent,
}

/// Counts the tokens of texts as models do. A guest calls it in its own CPU time, on the thread that runs it, so what one
/// call takes must be bounded to some milliseconds, and it must not wait.
pub trait TokenCounts: Send + Sync + 'static {
    /// The tokens of each text, in their order, as the model that requests name so counts them.
    fn count(&self, model: &str, texts: &[String]) -> Vec<TokenCount>;
}

/// The tokens of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// How many.
    pub tokens: u64,
    /// Whether that is an estimate.
    pub is_estimate: bool,
}

/// Takes note of tokens that a model used for the tenant.
pub trait TokenSink: Send + Sync + 'static {
    /// So many tokens, prompt and answer together, for one call.
    fn spend(&self, tokens: u64);
}

/// A store opened for one tenant.
#[derive(Clone)]
pub struct StoreHandle {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The tenant's part of it: no key of a guest leads out of it.
    pub partition: Partition,
}

/// The allow-list of one function.
pub trait OutboundPolicy: Send + Sync + 'static {
    /// Whether `scheme://host:port` may be called, and whether it may be an address inside a private network.
    fn decide(&self, scheme: &str, host: &str, port: u16) -> OutboundDecision;
    /// Whether another function (or `self`) may be called at `host` (`NAME.spin.internal`).
    fn allows_internal(&self, host: &str) -> bool;
    /// Whether a TCP connection to `address` may be opened through WASI sockets.
    fn allows_socket(&self, address: SocketAddr) -> bool;
}

/// What the allow-list says of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundDecision {
    /// It is not on the list.
    Denied,
    /// It may be called if its address is public.
    Public,
    /// It was named literally, so a private or loopback address is meant.
    Private,
}

/// Takes what guests print.
pub trait LogSink: Send + Sync + 'static {
    /// A sink for one instance. `instance` is its number, unique in the process.
    fn open(&self, instance: u64, stream: LogStream) -> Box<dyn LogWriter>;
}

/// Which of the two standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// The log stream of one instance.
pub trait LogWriter: Send + Sync + 'static {
    /// Takes bytes as the guest wrote them, in pieces of any size. `request` is the one under way when there is
    /// exactly one; its `span` is that of what the function does for it.
    fn write(&self, request: Option<&CallContext>, bytes: &[u8]);
}
