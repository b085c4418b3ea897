//! What the tests of retrieval share: files that are uploaded, vector stores that are filled, searches.

use crate::support::Setup;
use crate::tenants_support::{Answer, Caller};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long files may take to be taken in, on a busy machine.
const INGESTION_TIMEOUT: Duration = Duration::from_secs(150);
/// What parts the fields of a form; it is in none of the files here.
const BOUNDARY: &str = "part-of-a-form-38f1";

/// The application, whose files are embedded by the demo model: texts with words in common are alike to it.
pub(crate) fn embedding() -> Setup {
    embedded(Setup::application())
}

/// The same of another set-up.
pub(crate) fn embedded(setup: Setup) -> Setup {
    setup.args(&[
        "--variable",
        "embedding_model=demo",
        "--variable",
        "embedding_dimensions=256",
        "--variable",
        "search_threshold=0.2",
    ])
}

/// The files and vector stores of one caller.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) caller: Caller,
}

impl Shelf {
    pub(crate) fn of(caller: Caller) -> Self {
        Self { caller }
    }

    /// Uploads a file, whatever comes of it; `None` when the server is gone.
    pub(crate) async fn try_upload(&self, name: &str, content: &[u8]) -> Option<(u16, Value)> {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
             --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        );
        let body = [head.as_bytes(), content, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
        let request = self.caller.request("POST", "/v1/files");
        let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        let response = request.body(body).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    /// Uploads a file; its id.
    pub(crate) async fn file(&self, name: &str, content: &[u8]) -> String {
        let (status, file) = self.try_upload(name, content).await.expect("the server answers");
        assert_eq!((status, file["filename"].as_str()), (200, Some(name)), "{file}");
        assert_eq!(file["bytes"], content.len(), "{file}");
        id(&file)
    }

    /// Asks for JSON; it must succeed.
    pub(crate) async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.caller.request(method, path);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}: {answer:?}");
        answer.json()
    }

    /// A vector store with these files, taken in or failed; its id.
    pub(crate) async fn store(&self, files: &[String]) -> String {
        let store = id(&self.done("POST", "/v1/vector_stores", &json!({ "file_ids": files })).await);
        self.settled(&store).await;
        store
    }

    /// A vector store with one file; both ids.
    pub(crate) async fn store_of(&self, name: &str, text: &str) -> (String, String) {
        let file = self.file(name, text.as_bytes()).await;
        (self.store(std::slice::from_ref(&file)).await, file)
    }

    /// Adds a file to a vector store and waits until it is taken in.
    pub(crate) async fn add(&self, store: &str, file: &str, attributes: Value) {
        let body = json!({ "file_id": file, "attributes": attributes });
        self.done("POST", &format!("/v1/vector_stores/{store}/files"), &body).await;
        self.settled(store).await;
    }

    /// Waits until no file of a vector store is being taken in; the vector store.
    pub(crate) async fn settled(&self, store: &str) -> Value {
        let until = Instant::now() + INGESTION_TIMEOUT;
        loop {
            let object = self.done("GET", &format!("/v1/vector_stores/{store}"), &Value::Null).await;
            if object["file_counts"]["in_progress"] == 0 {
                return object;
            }
            assert!(Instant::now() < until, "files are not taken in: {object}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A file of a vector store.
    pub(crate) async fn member(&self, store: &str, file: &str) -> Value {
        self.done("GET", &format!("/v1/vector_stores/{store}/files/{file}"), &Value::Null).await
    }

    /// The results of a search, the best first.
    pub(crate) async fn search(&self, store: &str, body: &Value) -> Vec<Value> {
        let mut page = self.done("POST", &format!("/v1/vector_stores/{store}/search"), body).await;
        assert_eq!(page["object"], "vector_store.search_results.page");
        std::mem::take(page["data"].as_array_mut().unwrap())
    }

    /// A turn that is answered from a vector store.
    pub(crate) async fn turn(&self, store: &str, question: &str) -> Answer {
        let answer = self.caller.post("/v1/responses", &turn_body(store, question)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }
}

/// The body of a turn that is answered from a vector store.
pub(crate) fn turn_body(store: &str, question: &str) -> Value {
    let tool = json!({ "type": "file_search", "vector_store_ids": [store] });
    json!({ "input": question, "tools": [tool], "include": ["file_search_call.results"] })
}

/// The text of an answer that stands behind a search, and what it cites.
pub(crate) fn said(response: &Value) -> (&str, &Vec<Value>) {
    assert_eq!(response["output"][0]["type"], "file_search_call", "{response}");
    let part = &response["output"][1]["content"][0];
    (part["text"].as_str().unwrap(), part["annotations"].as_array().unwrap())
}

/// The id of an object.
pub(crate) fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

/// The text of a result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}
