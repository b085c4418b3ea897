//! The API over real sockets. Each answer is held against the document: its status, its type and its shape.

mod lifecycle;
mod refusals;
mod secrecy;
mod tools;

use crate::check::check;
use crate::host::{ErasureReport, Host, StoreErasure, Tools, Usage};
use crate::key::AdminKey;
use crate::openapi::{DOCUMENT, schemas};
use crate::route::{Found, find};
use crate::server::serve;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use waggle_secret::Secret;
use waggle_tenancy::{
    Directory, DirectoryConfig, FetchedJwks, FieldMistake, JwksFetch, Limits, MemoryTenantStore, Origin,
    Registry, SealingKey, Tenant, TenantId, TenantRules, TenantSettings, TenantStore, TokenIssuers,
};
use waggle_tools::{Function, Grants, MemoryToolKeys, ToolSource, Unlisted};

const KEY: &str = "wadm_0123456789abcdef0123456789abcdef";

/// What the application was asked to do, and what it answers.
struct Application {
    tools: Tools,
    calls: Mutex<Vec<String>>,
    fails: Mutex<Option<ErasureReport>>,
    quiet_after: Mutex<Duration>,
}

#[async_trait]
impl Host for Application {
    async fn erase(&self, tenant: &TenantId) -> Result<ErasureReport, String> {
        self.calls.lock().unwrap().push(format!("erase {tenant}"));
        if let Some(report) = self.fails.lock().unwrap().take() {
            return Ok(report);
        }
        let store = StoreErasure { store: "default".into(), keys: 3, bytes: 90, remaining: 0 };
        Ok(ErasureReport { stores: vec![store], log_files: 1 })
    }

    async fn ended(&self, tenant: &TenantId) {
        self.calls.lock().unwrap().push(format!("ended {tenant}"));
    }

    fn quiet_after(&self) -> Duration {
        *self.quiet_after.lock().unwrap()
    }

    async fn usage(&self, _tenant: &TenantId) -> Usage {
        Usage { instances: Some(2), ..Usage::default() }
    }

    fn is_secret_variable(&self, name: &str) -> bool {
        name.starts_with("secret_")
    }

    fn tools(&self) -> Option<&Tools> {
        Some(&self.tools)
    }
}

/// What can say what tools can do: a component the same each time, a server one thing more each time it is asked.
#[derive(Default)]
struct Listing {
    asked: Mutex<u32>,
}

fn function(name: &str) -> Function {
    let parameters = json!({ "type": "object" });
    serde_json::from_value(
        json!({ "name": name, "description": "", "parameters": parameters, "side_effects": true,
        "needs_approval": false }),
    )
    .unwrap()
}

#[async_trait]
impl ToolSource for Listing {
    async fn inspect(&self, component: Bytes) -> Result<Vec<Function>, Unlisted> {
        let is_one = component.starts_with(b"\0asm");
        if is_one { Ok(vec![function("run")]) } else { Err(Unlisted::Refused("it is no component".into())) }
    }

    async fn list_remote(
        &self,
        _tenant: &str,
        _name: &str,
        url: &str,
        grants: &Grants,
        _limits: &waggle_tools::Limits,
    ) -> Result<Vec<Function>, Unlisted> {
        assert!(
            grants.allows("https", url.split('/').nth(2).unwrap(), None),
            "its own place is granted: {url}"
        );
        if url.starts_with("https://away.test") {
            return Err(Unlisted::Unavailable(format!("nobody answers at {url}")));
        }
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        Ok((1..=*asked).map(|number| function(&format!("list_{number}"))).collect())
    }

    fn stores(&self) -> BTreeSet<String> {
        BTreeSet::from(["default".to_owned()])
    }
}

struct NoKeys;

#[async_trait]
impl JwksFetch for NoKeys {
    async fn fetch(&self, _url: &str) -> Result<FetchedJwks, String> {
        Err("there is no network".into())
    }
}

/// A running server.
struct Served {
    address: SocketAddr,
    application: Arc<Application>,
    directory: Arc<Directory>,
    store: Arc<MemoryTenantStore>,
    tools: Arc<waggle_tools::Registry>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let sealing = Arc::new(SealingKey::load_or_create(&folder.path().join("sealing-key")).unwrap());
    let directory = Directory::new(DirectoryConfig {
        defaults: Limits::default(),
        issuers: TokenIssuers::new(Arc::new(NoKeys)),
        sealing: Some(Arc::clone(&sealing)),
        base_dir: PathBuf::new(),
    });
    // What the application finds wrong: functions that it does not have.
    let unknown_function = |tenant: &Tenant| -> Vec<FieldMistake> {
        let functions = tenant.settings.functions.iter().flatten().enumerate();
        let unknown = functions.filter(|(_, name)| *name != "chat");
        unknown
            .map(|(at, name)| {
                FieldMistake::new(&["functions", &at.to_string()], format!("there is no `{name}`"))
            })
            .collect()
    };
    let store = Arc::new(MemoryTenantStore::default());
    let rules = TenantRules {
        check: Arc::new(unknown_function),
        secret_variables: Arc::new(|name| name.starts_with("secret_")),
    };
    let tenants: Arc<dyn TenantStore> = Arc::clone(&store) as _;
    let registry = Registry::open(tenants, Arc::clone(&directory), sealing, rules).await.unwrap();
    let tools = waggle_tools::Registry::open(Arc::new(MemoryToolKeys::default())).await.unwrap();
    let application = Arc::new(Application {
        tools: Tools { registry: Arc::clone(&tools), source: Arc::new(Listing::default()) },
        calls: Mutex::default(),
        fails: Mutex::default(),
        quiet_after: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let host = Arc::clone(&application);
    let ended = tokio::spawn(async move {
        let key = AdminKey::new(&Secret::new(KEY)).unwrap();
        serve(listener, registry, host, key, async move { drop(stopped.await) }).await;
    });
    Served {
        address,
        application,
        directory,
        store,
        tools,
        stop: Some(stop),
        ended: Some(ended),
        _folder: folder,
    }
}

impl Served {
    /// A request as an administrator sends it.
    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("/admin/v1{path}"))
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answered {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(request.body(Full::from(text)).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answered {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Sends a request and holds the answer against the document.
    async fn send(&self, request: Request<Full<Bytes>>) -> Answered {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        let answered = Answered { status: head.status.as_u16(), headers: head.headers, text, json };
        answered.is_documented(&method, &path);
        answered
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.application.calls.lock().unwrap())
    }

    /// Puts a tenant in force as tenants.toml does.
    fn configure_by_file(&self, id: &str, settings: Value) {
        let settings: TenantSettings = serde_json::from_value(settings).unwrap();
        let tenant = Tenant { id: TenantId::new(id).unwrap(), settings };
        self.directory.replace(Origin::File, [tenant]).unwrap();
    }

    async fn stop(&mut self) {
        drop(self.stop.take());
        self.ended.take().unwrap().await.unwrap();
    }
}

impl Answered {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The mistakes of a refusal: each pointer or parameter with what is said of it.
    fn mistakes(&self) -> Vec<(&str, &str)> {
        let errors = self.json["errors"].as_array().map_or(&[][..], Vec::as_slice);
        let place = |one: &'_ Value| one["pointer"].as_str().is_some();
        errors
            .iter()
            .map(|one| {
                let name = if place(one) { &one["pointer"] } else { &one["parameter"] };
                (name.as_str().unwrap(), one["detail"].as_str().unwrap())
            })
            .collect()
    }

    #[track_caller]
    fn is_documented(&self, method: &Method, path: &str) {
        assert_eq!(self.header(header::CACHE_CONTROL), "no-store");
        let kind = self.header(header::CONTENT_TYPE);
        let schema = match find(method, path) {
            Found::Route(route, _) => {
                let operation =
                    &DOCUMENT["paths"][format!("/admin/v1{}", route.path)][method.as_str().to_lowercase()];
                let documented = &operation["responses"][self.status.to_string()];
                assert!(
                    documented.is_object(),
                    "{method} {path} answers {} out of the document",
                    self.status
                );
                let content = documented["content"].as_object();
                assert_eq!(content.is_some(), !self.text.is_empty(), "{method} {path} {}", self.status);
                content.map(|content| content[kind]["schema"].clone())
            }
            // What is no route has no place in the document.
            _ => Some(json!({ "$ref": "#/components/schemas/Problem" })),
        };
        if let Some(schema) = schema {
            assert_eq!(check(schemas(), &schema, &self.json), [], "{method} {path}: {}", self.text);
        }
        if self.status >= 400 {
            assert_eq!(kind, "application/problem+json");
            assert_eq!(self.json["status"], self.status);
        }
    }
}
