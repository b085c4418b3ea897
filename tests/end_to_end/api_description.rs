//! `/openapi.json` against the functions: every route is in it and none that is not, its examples are served as they stand,
//! and what is answered has the shape it says.

use crate::support::{Server, Setup, client};
use crate::tenants_matrix::{Endpoint, endpoints, retrieval_endpoints};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

struct Api {
    server: Server,
    client: reqwest::Client,
    description: Value,
    /// The operations that were answered well.
    served: RefCell<BTreeSet<String>>,
    ids: RefCell<BTreeMap<&'static str, String>>,
}

impl Api {
    async fn start() -> Self {
        let server = Setup::application().start();
        let client = client();
        let description = client.get(server.url("/openapi.json")).send().await.unwrap();
        assert_eq!(description.headers()["content-type"], "application/json");
        let description = description.json().await.unwrap();
        Self { server, client, description, served: RefCell::default(), ids: RefCell::default() }
    }

    fn operation(&self, method: &str, path: &str) -> &Map<String, Value> {
        let operation = &self.description["paths"][path][method];
        operation.as_object().unwrap_or_else(|| panic!("{method} {path} is not described"))
    }

    /// What a reference of the description stands for.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.description.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    fn check_shape(&self, schema: &Value, value: &Value, what: &str) {
        let mut root = schema.clone();
        root["components"] = self.description["components"].clone();
        let validator = jsonschema::draft202012::new(&root).unwrap_or_else(|error| panic!("{what}: {error}"));
        let wrong: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{what}: {}\n{value:#}", wrong.join("\n"));
    }

    /// Sends the operation's example, or `body`, and holds the answer against what is said of its status.
    async fn call(&self, method: &str, target: &str, body: Option<Value>) -> Value {
        let path = target.split('?').next().unwrap();
        let operation = self.operation(method, path);
        let media = &operation.get("requestBody").unwrap_or(&Value::Null)["content"]["application/json"];
        let body = body.or_else(|| media.get("example").cloned());
        if let Some(body) = &body {
            self.check_shape(&media["schema"], body, &format!("the example of {method} {path}"));
        }
        let url = self.ids.borrow().iter().fold(target.to_owned(), |url, (name, id)| url.replace(name, id));
        assert!(!url.contains('{'), "nothing stands for a part of {url}");
        let method_name = method.to_uppercase().parse().unwrap();
        let mut request = self.client.request(method_name, self.server.url(&url));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16().to_string();
        let is_json = answer.headers()["content-type"] == "application/json";
        let text = answer.text().await.unwrap();
        let described = self.resolved(&operation["responses"][&status]);
        assert!(described.is_object(), "{method} {path} answers {status}, which is not described: {text}");
        if status.starts_with('2') {
            self.served.borrow_mut().insert(format!("{method} {path}"));
        }
        if !is_json {
            let media =
                described["content"].as_object().unwrap().keys().any(|media| media != "application/json");
            assert!(media, "{method} {path} answers no JSON: {text}");
            return Value::String(text);
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        self.check_shape(
            &described["content"]["application/json"]["schema"],
            &value,
            &format!("{method} {path}, {status}"),
        );
        value
    }

    /// Uploads a file, and holds the answer against what is said of it; the file's id.
    async fn upload(&self, filename: &str, content: &str) -> Value {
        let form = format!(
            "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--b\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\r\n{content}\r\n--b--\r\n"
        );
        let request = self.client.post(self.server.url("/v1/files")).body(form);
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        let file: Value = request.send().await.unwrap().json().await.unwrap();
        let said = self.resolved(&self.operation("post", "/v1/files")["responses"]["200"]);
        self.check_shape(&said["content"]["application/json"]["schema"], &file, "post /v1/files");
        self.served.borrow_mut().insert("post /v1/files".to_owned());
        file["id"].clone()
    }

    fn name(&self, place: &'static str, id: &Value) {
        let id = id.as_str().unwrap_or_else(|| panic!("{id} is no id")).to_owned();
        self.ids.borrow_mut().insert(place, id);
    }
}

fn described(description: &Value) -> BTreeSet<String> {
    let methods = ["get", "post", "put", "patch", "delete"];
    let paths = description["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let of = |method: &&str| item.get(*method).is_some();
            methods.into_iter().filter(move |method| of(method)).map(move |method| format!("{method} {path}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_and_answers_as_described() {
    let api = Api::start().await;
    let routes: BTreeSet<String> = endpoints()
        .into_iter()
        .chain(retrieval_endpoints())
        .chain(tools_endpoints())
        .map(|endpoint| format!("{} {}", endpoint.method.to_lowercase(), endpoint.path))
        .chain(["post /v1/channels/chatwoot".to_owned()])
        .collect();
    assert_eq!(described(&api.description), routes);

    api.name("{model}", &json!("demo"));
    let behind = json!({ "input": "Where is my order?", "background": true });
    api.name("{response}", &api.call("post", "/v1/responses", Some(behind)).await["id"]);
    api.call("post", "/v1/responses/{response}/cancel", None).await;
    api.call("get", "/v1/responses/{response}", None).await;
    api.name("{response}", &api.call("post", "/v1/responses", None).await["id"]);
    api.call("post", "/v1/responses/compact", None).await;
    api.name("{conversation}", &api.call("post", "/v1/conversations", None).await["id"]);
    let items = "/v1/conversations/{conversation}/items";
    api.name("{item}", &api.call("post", items, None).await["data"][0]["id"]);
    api.name("{session}", &api.call("post", "/v1/chat", None).await["session"]);
    api.name("{user}", &json!("ada"));
    for (method, path) in [
        ("get", "/v1/sessions?user=ada"),
        ("get", "/v1/sessions/{session}"),
        ("post", "/v1/embeddings"),
        ("post", "/v1/responses/input_tokens"),
        ("delete", "/v1/sessions/{session}"),
        ("post", "/v1/users/{user}/export"),
        ("delete", "/v1/users/{user}/data"),
        ("get", "/v1/responses/{response}"),
        ("get", "/v1/responses/{response}/input_items"),
        ("get", "/v1/conversations/{conversation}"),
        ("post", "/v1/conversations/{conversation}"),
        ("get", items),
        ("get", "/v1/conversations/{conversation}/items/{item}"),
        ("post", "/v1/conversations/{conversation}/items/{item}/pin"),
        ("get", "/v1/conversations/{conversation}"),
        ("delete", "/v1/conversations/{conversation}/items/{item}/pin"),
        ("post", "/v1/conversations/{conversation}/handover"),
        ("get", "/v1/conversations/{conversation}/handover"),
        ("get", "/v1/conversations/{conversation}"),
        ("delete", "/v1/conversations/{conversation}/handover"),
        ("post", "/v1/channels/chatwoot"),
        ("post", "/v1/chat/completions"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{model}"),
        ("delete", "/v1/conversations/{conversation}/items/{item}"),
        ("delete", "/v1/responses/{response}"),
        // Once more: what is gone is an error of the described shape.
        ("get", "/v1/responses/{response}"),
        ("delete", "/v1/conversations/{conversation}"),
        ("get", items),
    ] {
        api.call(method, path, None).await;
    }
    knowledge(&api).await;
    for endpoint in tools_endpoints() {
        api.call(&endpoint.method.to_lowercase(), &endpoint.path, None).await;
    }
    assert_eq!(*api.served.borrow(), routes, "every route was answered well once");
}

/// Those of the function `tools` that are no protocol of others' (`/mcp`).
fn tools_endpoints() -> Vec<Endpoint> {
    let public = [
        ("GET", "/v1/tools"),
        ("GET", "/v1/tools/audit"),
        ("DELETE", "/v1/tools/users/{user}/data"),
        ("POST", "/v1/intents/recognise"),
    ];
    let endpoint =
        |(method, path): (&str, &str)| Endpoint { method: method.to_owned(), path: path.to_owned() };
    public.map(endpoint).into()
}

/// Files, vector stores, and what is found in them.
async fn knowledge(api: &Api) {
    let file = api.upload("warranty.txt", "The warranty lasts two years.").await;
    api.name("{file}", &file);
    let store = api.call("post", "/v1/vector_stores", None).await["id"].clone();
    api.name("{store}", &store);
    let member = "/v1/vector_stores/{store}/files/{file}";
    api.call("post", "/v1/vector_stores/{store}/files", Some(json!({ "file_id": file }))).await;
    let until = Instant::now() + Duration::from_secs(30);
    while api.call("get", member, None).await["status"] != "completed" {
        assert!(Instant::now() < until, "the file is not taken in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let batches = "/v1/vector_stores/{store}/file_batches";
    // So long that it is not taken in before it is called off.
    let long = api.upload("long.txt", &"The warranty lasts two years, and more.\n\n".repeat(50_000)).await;
    api.name("{batch}", &api.call("post", batches, Some(json!({ "file_ids": [long] }))).await["id"]);
    api.call("post", "/v1/vector_stores/{store}/file_batches/{batch}/cancel", None).await;
    let search = json!({ "vector_store_ids": [store], "query": "How long is the warranty?" });
    api.call("post", "/v1/retrieval/search", Some(search)).await;
    let dify = json!({ "knowledge_id": store, "query": "warranty", "retrieval_setting": { "top_k": 3, "score_threshold": 0 } });
    api.call("post", "/retrieval", Some(dify)).await;
    for (method, path) in [
        ("get", "/v1/files"),
        ("get", "/v1/files/{file}"),
        ("get", "/v1/files/{file}/content"),
        ("get", "/v1/vector_stores"),
        ("get", "/v1/vector_stores/{store}"),
        ("post", "/v1/vector_stores/{store}"),
        ("post", "/v1/vector_stores/{store}/search"),
        ("get", "/v1/vector_stores/{store}/files"),
        ("post", member),
        ("get", "/v1/vector_stores/{store}/files/{file}/content"),
        ("get", "/v1/vector_stores/{store}/file_batches/{batch}"),
        ("get", "/v1/vector_stores/{store}/file_batches/{batch}/files"),
        ("delete", member),
        ("delete", "/v1/vector_stores/{store}"),
        ("get", "/v1/vector_stores/{store}"),
        ("delete", "/v1/files/{file}"),
        ("get", "/v1/files/{file}"),
        ("get", "/v1/retrieval/questions"),
        ("delete", "/v1/retrieval/users/{user}/data"),
    ] {
        api.call(method, path, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_nobody_else() {
    let server = Setup::application().start();
    let page = client().get(server.url("/docs")).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let text = page.text().await.unwrap();
    assert!(text.contains("/openapi.json") && !text.contains("://"), "{text}");
    let wrong = client().post(server.url("/docs")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
}
