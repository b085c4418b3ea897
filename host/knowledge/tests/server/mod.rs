//! A server that has one vector store, `vs_` and 24 noughts, and takes files in when it is asked how far they are.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use waggle_knowledge::Knowledge;

pub(crate) const STORE: &str = "vs_000000000000000000000000";

/// What the server holds.
#[derive(Default)]
pub(crate) struct State {
    /// The name of the vector store, once it is there.
    pub(crate) name: Option<String>,
    /// Ids and contents of files.
    pub(crate) files: Vec<(String, String)>,
    /// What is in the vector store.
    pub(crate) members: Vec<Value>,
    /// Methods and paths of all requests.
    pub(crate) asked: Vec<String>,
    /// How many of the next requests are told to come again in a second.
    pub(crate) busy: usize,
    /// The bodies of all turns.
    pub(crate) turns: Vec<Value>,
    made: usize,
}

pub(crate) type Shared = Arc<Mutex<State>>;

/// Starts a server.
pub(crate) async fn start() -> (Knowledge, Shared) {
    let state = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::clone(&state);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            tokio::spawn(async move {
                let _gone = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (Knowledge::new(&url, None).unwrap(), state)
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let mut state = shared.lock().unwrap();
    let path = head.uri.path().to_owned();
    state.asked.push(format!("{} {path}", head.method));
    let (status, value) = if state.busy > 0 {
        state.busy -= 1;
        (429, json!({"error": {"message": "Later.", "code": "ingestion_queue_full"}}))
    } else {
        state.answer(&head.method, &path, head.uri.query().unwrap_or_default(), &body)
    };
    let mut response = Response::builder().status(status);
    if status == 429 {
        response = response.header("retry-after", "1");
    }
    Ok(response.body(Full::from(value.to_string())).unwrap())
}

fn list(data: &[Value]) -> Value {
    json!({"object": "list", "data": data, "has_more": false, "last_id": data.last().map(|last| &last["id"])})
}

impl State {
    fn store(&self, name: &str) -> Value {
        let counts = json!({"in_progress": 0, "completed": self.members.len(), "failed": 0, "cancelled": 0,
            "total": self.members.len()});
        json!({"id": STORE, "name": name, "status": "completed", "usage_bytes": 7, "file_counts": counts,
            "waggle_search": "lexical"})
    }

    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &str) -> (u16, Value) {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["vector_stores"]) => {
                (200, list(&self.name.iter().map(|name| self.store(name)).collect::<Vec<_>>()))
            }
            ("POST", ["vector_stores"]) => {
                let name = json["name"].as_str().unwrap().to_owned();
                let store = self.store(&name);
                self.name = Some(name);
                (200, store)
            }
            ("DELETE", ["vector_stores", _]) => {
                self.name = None;
                (200, json!({"deleted": true}))
            }
            ("POST", ["files"]) => {
                self.made += 1;
                let id = format!("file-{}", self.made);
                let content = body.split("\r\n\r\n").nth(2).unwrap().split("\r\n--").next().unwrap();
                self.files.push((id.clone(), content.to_owned()));
                (200, json!({"id": id}))
            }
            ("DELETE", ["files", id]) => {
                self.files.retain(|(other, _)| other != id);
                self.members.retain(|member| member["id"] != **id);
                (200, json!({"deleted": true}))
            }
            ("GET", ["vector_stores", _, "files"]) => (200, list(&self.members(query))),
            ("POST", ["vector_stores", _, "files"]) => {
                let member =
                    json!({"id": json["file_id"], "status": "in_progress", "attributes": json["attributes"]});
                self.members.push(member.clone());
                (200, member)
            }
            ("POST", ["vector_stores", _, "search"]) => (200, self.found(&json)),
            ("GET", ["retrieval", "questions"]) => {
                let question = json!({"object": "frequent_question", "question": query, "count": 3});
                (200, json!({"object": "list", "data": [question], "has_more": false}))
            }
            ("POST", ["responses"]) => self.turn(json),
            _ => (404, json!({"error": {"message": format!("{method} {path} is nothing")}})),
        }
    }

    /// The files, as they are; those that are on their way are taken in behind the answer. One that says `broken` fails.
    fn members(&mut self, query: &str) -> Vec<Value> {
        let coming = query.contains("filter=in_progress");
        let shown = self.members.iter().filter(|member| !coming || member["status"] == "in_progress");
        let shown = shown.cloned().collect();
        for member in &mut self.members {
            let content = self.files.iter().find(|(id, _)| member["id"] == **id).map(|(_, content)| content);
            let is_broken = content.is_some_and(|content| content.contains("broken"));
            if coming && is_broken {
                member["status"] = json!("failed");
                member["last_error"] = json!({"code": "invalid_file", "message": "It is broken."});
            } else if coming && member["status"] == "in_progress" {
                member["status"] = json!("completed");
            }
        }
        shown
    }

    /// A turn: what was asked before has an answer that is kept, and some questions have none.
    fn turn(&mut self, body: Value) -> (u16, Value) {
        let was_asked = self.turns.iter().any(|turn| turn["input"] == body["input"]);
        let question = body["input"].as_str().unwrap().to_owned();
        self.turns.push(body);
        let (metadata, annotations) = match question.as_str() {
            "Broken?" => return (500, json!({"error": {"message": "It broke."}})),
            "Forbidden?" => return (403, json!({"error": {"message": "Not you."}})),
            "Dear?" => {
                return (429, json!({"error": {"message": "It is spent.", "code": "budget_exceeded"}}));
            }
            "Nothing?" => (json!({"waggle_answer": "none"}), json!([])),
            _ if was_asked => (json!({"waggle_answer": "cached"}), json!([{"type": "file_citation"}])),
            _ => (json!({}), json!([{"type": "file_citation"}])),
        };
        let part = json!({"type": "output_text", "text": "So.", "annotations": annotations});
        let output = json!([{"type": "message", "content": [part]}]);
        (200, json!({"status": "completed", "metadata": metadata, "output": output}))
    }

    fn found(&self, body: &Value) -> Value {
        let hit = json!({"file_id": "file-1", "filename": "a.md", "score": 0.5, "attributes": {"path": "docs/a.md"},
            "content": [{"type": "text", "text": body["query"]}], "waggle_heading": "Bees > Dance"});
        json!({"object": "vector_store.search_results.page", "data": [hit], "has_more": false, "next_page": null})
    }
}
