//! Starts the real program on a free port with a state folder of its own, and speaks to it.

use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the program may take to serve, a cold compile on a busy machine included.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test.
pub(crate) fn waggle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waggle"));
    command.current_dir(root()).env("NO_COLOR", "1");
    for name in ["OPENAI_BASE_URL", "OPENAI_API_KEY", "WAGGLE_LOG", "RUNTIME_CONFIG_FILE"] {
        command.env_remove(name);
    }
    command
}

/// Builds the application's own functions, once per test run.
pub(crate) fn build_functions() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = waggle().arg("build").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

/// Builds the components of `tests/guests`, once per test run, and returns their folder.
pub(crate) fn guests() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let target = root().join("target/guests");
    BUILT.get_or_init(|| {
        let output = Command::new("cargo")
            .args(["build", "--examples", "--target", "wasm32-wasip2", "--release", "--target-dir"])
            .arg(&target)
            .current_dir(root().join("tests/guests"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    target.join("wasm32-wasip2/release/examples")
}

/// A function with its imports satisfied by these components, as Spin composes them; it is written to `folder`.
pub(crate) fn composed(folder: &Path, function: &Path, dependencies: &[PathBuf]) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let target = root().join("target/compose");
    BUILT.get_or_init(|| {
        let output = Command::new("cargo")
            .args(["build", "--target-dir"])
            .arg(&target)
            .current_dir(root().join("tests/compose"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    let out = folder.join(function.file_name().unwrap());
    let mut compose = Command::new(target.join("debug/compose"));
    let output = compose.arg(&out).arg(function).args(dependencies).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Compiled components, shared by all tests so that each component is compiled once.
fn compiled_cache() -> PathBuf {
    root().join("target/end-to-end-compiled")
}

/// How to start the program.
pub(crate) struct Setup {
    folder: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    manifest: PathBuf,
}

impl Setup {
    /// The application of this repository, with the demo model.
    pub(crate) fn application() -> Self {
        build_functions();
        Self::with_manifest(root().join("spin.toml"))
    }

    /// An application made of the given text; paths in it are relative to a fresh folder.
    pub(crate) fn manifest(text: &str) -> Self {
        let setup = Self::with_manifest(PathBuf::new());
        let path = setup.folder.path().join("spin.toml");
        fs::write(&path, text).unwrap();
        Self { manifest: path, ..setup }
    }

    /// An application made of the given functions.
    pub(crate) fn functions(functions: &[Function]) -> Self {
        let head = "spin_manifest_version = 2\n[application]\nname = \"tested\"\n";
        let parts: String = functions.iter().map(Function::manifest).collect();
        Self::manifest(&format!("{head}{parts}"))
    }

    fn with_manifest(manifest: PathBuf) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), args: Vec::new(), env: Vec::new(), manifest }
    }

    /// A folder that lives as long as the set-up: state, configuration, whatever a test needs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a runtime configuration and passes it.
    pub(crate) fn runtime_config(self, text: &str) -> Self {
        let path = self.folder.path().join("runtime-config.toml");
        fs::write(&path, text).unwrap();
        self.args(&["--runtime-config-file", path.to_str().unwrap()])
    }

    /// The command, for tests of starts that fail.
    pub(crate) fn command(&self) -> Command {
        let state = self.folder.path().join("state");
        fs::create_dir_all(&state).unwrap();
        share_compiled(&state);
        let mut command = waggle();
        command.arg("up").arg("--from").arg(&self.manifest);
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--state-dir", state.to_str().unwrap())] {
            if !self.args.iter().any(|arg| arg == flag) {
                command.args([flag, value]);
            }
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the program and waits until it serves.
    pub(crate) fn start(self) -> Server {
        let process = Process::start(&mut self.command());
        Server { process: Some(process), setup: self }
    }
}

/// One function of an application under test.
pub(crate) struct Function {
    name: String,
    route: String,
    source: PathBuf,
    more: String,
}

impl Function {
    /// The guest of that name; it answers at `/NAME/...`.
    pub(crate) fn guest(name: &str) -> Self {
        Self::component(name, guests().join(format!("{}.wasm", name.replace('-', "_"))))
    }

    /// The application's own well-behaved function, at `/hello/...`.
    pub(crate) fn hello() -> Self {
        build_functions();
        Self::component("hello", root().join("target/wasm32-wasip2/function/hello.wasm"))
    }

    /// The component in that file; it answers at `/NAME/...`.
    pub(crate) fn component(name: &str, source: PathBuf) -> Self {
        Self { name: name.to_owned(), route: format!("\"/{name}/...\""), source, more: String::new() }
    }

    /// Another name and route for it, so that one guest can be several functions.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), route: format!("\"/{name}/...\""), ..self }
    }

    /// Its route as TOML.
    pub(crate) fn route(self, route: &str) -> Self {
        Self { route: route.to_owned(), ..self }
    }

    /// Lines for its `[component.NAME]`.
    pub(crate) fn with(self, lines: &str) -> Self {
        Self { more: format!("{}{lines}\n", self.more), ..self }
    }

    fn manifest(&self) -> String {
        let Self { name, route, source, more } = self;
        let source = source.to_str().unwrap();
        format!(
            "[[trigger.http]]\nroute = {route}\ncomponent = \"{name}\"\n\
             [component.{name}]\nsource = \"{source}\"\n{more}\n"
        )
    }
}

/// Lets the state folder use the compiled components of earlier tests.
fn share_compiled(state: &Path) {
    let link = state.join("compiled");
    if !link.exists() {
        fs::create_dir_all(compiled_cache()).unwrap();
        std::os::unix::fs::symlink(compiled_cache(), link).unwrap();
    }
}

/// A program that serves. Killed when dropped.
pub(crate) struct Server {
    process: Option<Process>,
    pub(crate) setup: Setup,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.process().url)
    }

    /// `127.0.0.1:port`
    pub(crate) fn address(&self) -> String {
        self.process().url.split("//").nth(1).unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Everything written to standard output and error so far.
    pub(crate) fn output(&self) -> String {
        self.process().output.lock().unwrap().clone()
    }

    /// Waits until the output holds `text`.
    pub(crate) fn wait_for_output(&self, text: &str) {
        wait_until(&format!("output with {text:?}"), || self.output().contains(text));
    }

    /// Pulls the plug: SIGKILL, no chance to do anything.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Starts it again with the same state, on a new port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = Some(Process::start(&mut self.setup.command()));
    }

    /// Sends a signal by its name, such as TERM.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let child = &mut self.process.as_mut().unwrap().child;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the program did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }
}

struct Process {
    child: Child,
    url: String,
    output: Arc<Mutex<String>>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (found, serving) = mpsc::channel();
        follow(child.stdout.take().unwrap(), Arc::clone(&output), Some(found));
        follow(child.stderr.take().unwrap(), Arc::clone(&output), None);
        let Ok(url) = serving.recv_timeout(START_TIMEOUT) else {
            let _ = child.kill();
            panic!("the program does not serve:\n{}", output.lock().unwrap());
        };
        Self { child, url, output }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects a stream; tells the URL when the start-up screen names it.
fn follow(
    stream: impl std::io::Read + Send + 'static,
    output: Arc<Mutex<String>>,
    found: Option<mpsc::Sender<String>>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
            if let (Some(found), Some(url)) = (&found, line.strip_prefix("Serving ")) {
                let _ = found.send(url.trim().to_owned());
            }
        }
    });
}

/// Runs a start that must fail, and returns what it wrote to standard error.
pub(crate) fn failing_start(setup: &Setup) -> String {
    let mut child = setup.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + START_TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            panic!("the start neither failed nor ended");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

/// Waits for a condition, within [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`wait_until`], in a test that must go on meanwhile.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that keeps connections, as applications do.
pub(crate) fn client() -> reqwest::Client {
    client_builder().build().unwrap()
}

/// What [`client`] is made of, for tests that change something about it.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    // An error says that another test has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60))
}

/// Sends JSON and returns status and JSON.
pub(crate) async fn post(client: &reqwest::Client, url: &str, body: &Value) -> (u16, Value) {
    let response = client.post(url).json(body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Reads a URL and returns status and text.
pub(crate) async fn get_text(client: &reqwest::Client, url: &str) -> (u16, String) {
    let response = client.get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Reads a URL and returns status and JSON.
pub(crate) async fn get(client: &reqwest::Client, url: &str) -> (u16, Value) {
    let response = client.get(url).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
