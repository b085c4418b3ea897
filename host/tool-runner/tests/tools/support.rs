//! Builds the guests, and gives them a world whose grants a test chooses.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use waggle_engine::{BodyError, LogStream, StoreHandle, WasiBody};
use waggle_kv::{Embedded, Partition, StoreOptions};
use waggle_tool_runner::{Call, Limits, Outcome, Prepared, Runner, RunnerConfig, SendTimes, ToolWorld};

const GUESTS: [&str; 4] = ["tool_hostile", "tool_nothing", "tool_orders", "tool_plain"];

/// A guest's component.
pub(crate) fn guest(name: &str) -> Bytes {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(build);
    std::fs::read(folder.join(format!("{name}.wasm"))).unwrap().into()
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("target/guests");
    let output = Command::new("cargo")
        .args(["build", "--target", "wasm32-wasip2", "--release", "--target-dir"])
        .arg(&target)
        .args(GUESTS.iter().flat_map(|guest| ["--example", guest]))
        .current_dir(root.join("tests/guests"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm32-wasip2/release/examples")
}

/// A runner without a folder of compiled code.
pub(crate) fn runner() -> Runner {
    Runner::new(RunnerConfig { calls_max: 8, ..RunnerConfig::default() }, None).unwrap()
}

/// A guest, ready to be called.
pub(crate) async fn prepared(runner: &Runner, name: &str) -> Arc<Prepared> {
    runner.prepare(guest(name)).await.unwrap()
}

/// What a test grants, and what came of it.
#[derive(Default)]
pub(crate) struct TestWorld {
    /// Whether calls over HTTP are answered.
    pub(crate) answers: bool,
    /// The store granted, with its label.
    pub(crate) store: Option<(&'static str, StoreHandle)>,
    /// `METHOD URI` of each call, with the names of its fields.
    pub(crate) sent: Mutex<Vec<String>>,
    /// Bytes that were printed.
    pub(crate) logged: Mutex<usize>,
}

#[async_trait]
impl ToolWorld for TestWorld {
    async fn send(
        &self,
        request: http::Request<WasiBody>,
        _times: SendTimes,
    ) -> Result<http::Response<WasiBody>, BodyError> {
        let fields: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        let line = format!("{} {} {}", request.method(), request.uri(), fields.join(","));
        self.sent.lock().unwrap().push(line);
        if !self.answers {
            return Err(BodyError::HttpRequestDenied);
        }
        let body = Full::new(Bytes::from_static(b"there")).map_err(|never| match never {}).boxed_unsync();
        Ok(http::Response::new(body))
    }

    fn store(&self, label: &str) -> Option<StoreHandle> {
        self.store
            .as_ref()
            .filter(|(granted, _handle)| *granted == label)
            .map(|(_label, handle)| handle.clone())
    }

    fn log(&self, _stream: LogStream, bytes: &[u8]) {
        *self.logged.lock().unwrap() += bytes.len();
    }
}

/// A store in `folder`, of one tenant.
pub(crate) fn store(folder: &Path) -> StoreHandle {
    let store = Embedded::open(folder).unwrap().store(StoreOptions::default());
    StoreHandle { store, partition: Partition::new("tenant", "tools").unwrap() }
}

/// A call with the default limits.
pub(crate) fn call(function: &str, arguments: &str, world: &Arc<TestWorld>) -> Call {
    Call {
        function: function.into(),
        arguments: arguments.into(),
        idempotency_key: "resp_1.1.0".into(),
        gives_json: false,
        limits: Limits::default(),
        deadline: None,
        world: Arc::clone(world) as Arc<dyn ToolWorld>,
    }
}

/// Makes a call without grants.
pub(crate) async fn ask(runner: &Runner, tool: &Prepared, function: &str, arguments: &str) -> Outcome {
    runner.call(tool, &call(function, arguments, &Arc::default())).await.unwrap()
}
