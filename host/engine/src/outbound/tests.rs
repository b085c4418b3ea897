//! What waits for which writes, over a store whose flushes are held back; a power cut is a copy of its files.

use super::*;
use crate::InternalCalls;
use crate::account::{Active, TenantBounds};
use crate::request::{Admission, GatedBody, RequestGuard};
use crate::world::{
    InstanceBounds, LogSink, LogStream, LogWriter, ModelCalls, OutboundPolicy, StoreHandle, TokenCount,
    TokenCounts, WorkCalls,
};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use tempfile::TempDir;
use waggle_egress::{Credentials, Egress, EgressConfig};
use waggle_kv::{Commit, Embedded, EmbeddedOptions, Partition, StoreOptions, Swap};
use waggle_tenancy::TenantId;

const MODELS: &str = "models.waggle.internal";
const WORK: &str = "work.waggle.internal";
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Everything a function may call; all of it answers at once.
struct Others;

fn answer() -> http::Response<WasiBody> {
    http::Response::new(body())
}

pub(crate) fn body() -> WasiBody {
    http_body_util::Full::from("word").map_err(|never| match never {}).boxed_unsync()
}

#[async_trait]
impl ModelCalls for Others {
    fn takes(&self, host: &str) -> bool {
        host == MODELS
    }

    async fn call(
        &self,
        _request: http::Request<WasiBody>,
        _context: ModelCallContext,
    ) -> Result<http::Response<WasiBody>, Error> {
        Ok(answer())
    }
}

impl TokenCounts for Others {
    fn count(&self, _model: &str, texts: &[String]) -> Vec<TokenCount> {
        vec![TokenCount { tokens: 1, is_estimate: true }; texts.len()]
    }
}

#[async_trait]
impl WorkCalls for Others {
    fn takes(&self, host: &str) -> bool {
        host == WORK
    }

    async fn call(
        &self,
        _request: http::Request<WasiBody>,
        _caller: CallerFields,
    ) -> http::Response<WasiBody> {
        answer()
    }
}

#[async_trait]
impl InternalCalls for Others {
    async fn call(
        &self,
        _tenant: &TenantId,
        _target: InternalTarget,
        _request: http::Request<WasiBody>,
        _context: CallContext,
    ) -> http::Response<WasiBody> {
        answer()
    }
}

impl OutboundPolicy for Others {
    fn decide(&self, _scheme: &str, _host: &str, _port: u16) -> OutboundDecision {
        OutboundDecision::Public
    }

    fn allows_internal(&self, _host: &str) -> bool {
        true
    }

    fn allows_socket(&self, _address: SocketAddr) -> bool {
        false
    }
}

impl LogSink for Others {
    fn open(&self, _instance: u64, _stream: LogStream) -> Box<dyn LogWriter> {
        Box::new(Self)
    }
}

impl LogWriter for Others {
    fn write(&self, _request: Option<&CallContext>, _bytes: &[u8]) {}
}

pub(crate) fn world() -> Arc<FunctionWorld> {
    let others = Arc::new(Others);
    Arc::new(FunctionWorld {
        tenant: "acme".parse().unwrap(),
        function: "chat".into(),
        environment: Vec::new(),
        mounts: Vec::new(),
        stores: std::collections::BTreeMap::new(),
        variables: std::collections::BTreeMap::new(),
        outbound: Arc::clone(&others) as Arc<_>,
        egress: Arc::new(Egress::new(EgressConfig::default()).unwrap()),
        internal: Arc::clone(&others) as Arc<_>,
        log: Arc::clone(&others) as Arc<_>,
        models: Arc::clone(&others) as Arc<_>,
        vectors: None,
        token_counts: Arc::clone(&others) as Arc<_>,
        work: others,
        tools: None,
        credentials: Arc::new(Credentials::default()),
        tokens: None,
        bounds: InstanceBounds {
            memory_bytes_max: 1 << 20,
            request_cpu: PATIENCE,
            isolate_requests: false,
            tenant: TenantBounds::default(),
        },
    })
}

/// Of a request that is not traced.
pub(crate) fn context() -> CallContext {
    let now = Instant::now();
    CallContext {
        request_id: "r".into(),
        head_deadline: now + PATIENCE,
        body_deadline: now + PATIENCE,
        depth: 0,
        calls: Arc::default(),
        caller: CallerFields::default(),
        span: Parent::none(),
    }
}

/// Holds flushes back until it is opened.
#[derive(Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // The store is closed after the last flush; a test that fails must not wait for it.
        self.open();
    }
}

/// An instance's store and what it has written.
pub(crate) struct Bench {
    pub(crate) gate: Gate,
    handle: StoreHandle,
    pub(crate) ledger: Arc<Ledger>,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Increment,
    Set,
    Swap,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (gate, folder) = (Gate::default(), tempfile::tempdir().unwrap());
        let flushes = Arc::clone(&gate.0);
        let held = Arc::new(move || {
            let (is_open, opened) = &*flushes;
            drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
            Ok(())
        });
        let options = EmbeddedOptions { before_flush: Some(held), ..EmbeddedOptions::default() };
        let store = Embedded::open_with(folder.path(), options).unwrap().store(StoreOptions::default());
        let handle = StoreHandle { store, partition: Partition::new("acme", "default").unwrap() };
        Self { gate, handle, ledger: Arc::default(), folder }
    }

    pub(crate) async fn write(&self, write: Write) {
        let StoreHandle { store, partition } = &self.handle;
        match write {
            Write::Increment => {
                self.ledger.record_increment(store.increment(partition, "counter", 1).await.unwrap().1);
            }
            Write::Set => self.ledger.record(store.set(partition, "key", "value".into()).await.unwrap()),
            Write::Swap => {
                let swap = store.compare_and_swap(partition, "claim", None, "mine".into()).await.unwrap();
                let Swap::Done(commit) = swap else { panic!("{swap:?}") };
                self.ledger.record(commit);
            }
        }
    }

    fn call(&self, host: &str) -> impl Future<Output = Result<http::Response<WasiBody>, Error>> + use<> {
        let call = Call {
            world: world(),
            account: TenantAccount::new(&Arc::new(Active::default())),
            ledger: Arc::clone(&self.ledger),
            caller: None,
            depth_max: 8,
            calls_max: 8,
            background_timeout: PATIENCE,
        };
        let request = http::Request::post(format!("http://{host}/v1/responses")).body(body()).unwrap();
        call.send(request, None)
    }

    /// What a counter shows after the power was cut just now.
    async fn counter_after_a_power_cut(&self) -> i64 {
        let copy = tempfile::tempdir().unwrap();
        copy_files(self.folder.path(), copy.path());
        let store = Embedded::open(copy.path()).unwrap().store(StoreOptions::default());
        // By what it gives next.
        let (next, _commit): (i64, Commit) =
            store.increment(&self.handle.partition, "counter", 1).await.unwrap();
        next - 1
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_model_is_not_called_before_a_claim_is_durable_and_waits_for_no_counter() {
    use Write::{Increment, Set, Swap};
    let check = async |writes: &[Write], host: &str, waits: bool| {
        let bench = Bench::new();
        for write in writes {
            bench.write(*write).await;
        }
        let mut call = Box::pin(bench.call(host));
        assert_eq!(futures::poll!(&mut call).is_pending(), waits, "{writes:?} {host}");
        if waits {
            bench.gate.open();
            tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap();
        }
    };
    check(&[], MODELS, false).await;
    check(&[Increment], MODELS, false).await;
    check(&[Set], MODELS, true).await;
    check(&[Swap], MODELS, true).await;
    check(&[Swap, Increment], MODELS, true).await;
    check(&[Increment, Swap], MODELS, true).await;
    // What others are told of a counter, they may remember.
    check(&[Increment], "other.spin.internal", true).await;
    check(&[Increment], WORK, true).await;
}

#[tokio::test]
async fn a_counter_that_was_shown_outside_never_goes_back() {
    let bench = Bench::new();
    bench.write(Write::Increment).await;
    bench.call(MODELS).await.unwrap();
    assert_eq!(bench.counter_after_a_power_cut().await, 0, "the model was asked, and told nobody");
    let guard = RequestGuard::new(context(), Admission::default(), "chat");
    let mut shown =
        GatedBody::wrap(http::Response::new(body()), Arc::clone(&bench.ledger), guard).into_body();
    assert!(futures::poll!(shown.frame()).is_pending(), "the client is told nothing yet");
    bench.gate.open();
    tokio::time::timeout(PATIENCE, shown.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(bench.counter_after_a_power_cut().await, 1);
}

/// A client's connection drops a body of known length with its last byte, and does not ask for its end.
#[tokio::test]
async fn a_request_is_complete_with_the_last_byte_that_its_head_tells_of() {
    let check = async |length: Option<&str>, complete: bool| {
        let bench = Bench::new();
        let guard = RequestGuard::new(context(), Admission::default(), "chat");
        let scope = Arc::clone(&guard.scope);
        let mut response = http::Response::new(body());
        if let Some(length) = length {
            response.headers_mut().insert(http::header::CONTENT_LENGTH, length.parse().unwrap());
        }
        let mut shown = GatedBody::wrap(response, Arc::clone(&bench.ledger), guard).into_body();
        shown.frame().await.unwrap().unwrap();
        drop(shown);
        assert_eq!(
            (scope.is_completed(), scope.cancelled.is_cancelled()),
            (complete, !complete),
            "{length:?}"
        );
    };
    check(Some("4"), true).await;
    check(Some("5"), false).await;
    check(None, false).await;
}
