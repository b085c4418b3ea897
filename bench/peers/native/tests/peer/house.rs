//! Starts Redis, the simulated model and the peer on free ports, and stops them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model_sim::{Running, SimConfig};
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) struct House {
    pub(crate) model: Running,
    pub(crate) url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    _processes: [Process; 2],
    _folder: tempfile::TempDir,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn listening(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "nothing listens on {port}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `None` where redis-server is not installed: the peer is for benchmarks, which say so themselves.
pub(crate) async fn start() -> Option<House> {
    let folder = tempfile::tempdir().unwrap();
    let (redis_port, peer_port) = (free_port(), free_port());
    let redis = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &redis_port.to_string(), "--save", "", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn();
    let Ok(redis) = redis else {
        eprintln!("not tested: redis-server is not installed");
        return None;
    };
    let redis = Process(redis);
    listening(redis_port).await;
    let model = model_sim::start(SimConfig::default()).await.unwrap();
    let peer = Command::new(env!("CARGO_BIN_EXE_native-peer"))
        .env("PORT", peer_port.to_string())
        .env("REDIS_URL", format!("redis://127.0.0.1:{redis_port}/0"))
        .env("MODEL_URL", model.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let peer = Process(peer);
    listening(peer_port).await;
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let url = format!("http://127.0.0.1:{peer_port}");
    Some(House { model, url, client, _processes: [peer, redis], _folder: folder })
}

impl House {
    /// Posts JSON; the status and the text of the answer.
    pub(crate) async fn post_text(&self, path: &str, body: &Value) -> (u16, String) {
        let request = Request::post(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(Full::new(body.to_string().into()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, text) = self.post_text(path, body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn conversation(&self) -> String {
        let created = self.post("/v1/conversations", &serde_json::json!({})).await;
        created["id"].as_str().unwrap().to_owned()
    }
}
