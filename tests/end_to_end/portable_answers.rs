//! Questions that are answered alike by two hosts: one that offers indexes, a tokenizer and whole messages itself, and one
//! whose functions bring them, as under plain Spin. There they are composed with the components that spin.toml names for
//! that, and their chunks lie in the key-value store.
//!
//! What is alike: which chunks are near enough to be found, since both compare all of so few vectors exactly; and so what is
//! refused. What may differ is the order of those chunks, as far as words decide it, so that the first is compared, and the
//! next only as a set:
//! - The host cuts Chinese into words by a dictionary, the fallback into pairs of characters; the host's English stems are
//!   Snowball's, the fallback's the first step of Porter's.
//! - The host's BM25 rounds the lengths of longer chunks, and looks at the first 128 words of a question only. Under a filter
//!   it weighs words by all chunks, the fallback by those that pass.
//! - Of equal scores, the host has the one first that was written first, the fallback the one whose file's id comes first.
//! - From `exact_chunks_max` chunks on, the host walks a graph of neighbours and may miss one; the fallback never does.
//! - The fallback only estimates tokens, wide characters otherwise than the host does. So Chinese files of many sections may
//!   be cut elsewhere, and with a model whose vocabulary the host has, others as well.
//!
//! The questions here have a first answer by a clear margin. The Chinese files are of one chunk each.

use crate::portability::{component_imports, dependencies_of};
use crate::retrieval_support::{Shelf, embedded, said, text};
use crate::support::{Server, Setup, build_functions, composed, root};
use crate::tenants_support::{Answer, Caller, state_of};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use waggle_manifest::{LoadOptions, Manifest};

/// More than any question here finds: so all that is near enough is found.
const RESULTS_MAX: usize = 50;
/// How many of the first results are compared by themselves, and are the sources of a turn.
const FIRST: usize = 3;
/// How far two cosines may be apart that are computed in another order.
const ROUNDING: f64 = 1e-4;

/// Files of the repository, each with its kind.
const FILES: [(&str, &str); 12] = [
    ("shop", "examples/shop/documents/returns.md"),
    ("shop", "examples/shop/documents/shipping.md"),
    ("decision", "docs/decisions/0006-tenants-in-two-sources.md"),
    ("decision", "docs/decisions/0010-conversation-tickets.md"),
    ("decision", "docs/decisions/0014-work-queue.md"),
    ("decision", "docs/decisions/0016-websockets-end-at-the-gateway.md"),
    ("decision", "docs/decisions/0017-tokens-are-counted-by-the-host.md"),
    ("decision", "docs/decisions/0018-summaries.md"),
    ("decision", "docs/decisions/0022-documents.md"),
    ("decision", "docs/decisions/0025-component-tools.md"),
    ("decision", "docs/decisions/0027-mcp.md"),
    ("decision", "docs/decisions/0029-hand-over.md"),
];

/// Two more of the shop's.
const CHINESE: [(&str, &str); 2] = [
    (
        "returns-zh.md",
        "# 退货\n\n商品签收后 30 天内可以无理由退货。商品须未经使用，并保留原包装。退款会在我们收到包裹后 5 个工作日内退回原付款账户。\n",
    ),
    (
        "shipping-zh.md",
        "# 配送\n\n当天 14:00 前下单，当天发货。国内 1 至 2 个工作日送达，欧盟 3 至 5 个工作日。国内运费 4.90 欧元，满 50 欧元免运费。\n",
    ),
];

/// A question, of which kind of files it is asked, and which file answers it.
type Question = (&'static str, Option<&'static str>, Option<&'static str>);

const QUESTIONS: [Question; 18] = [
    ("Within how many days may I return what I have bought?", None, Some("returns.md")),
    ("How much is shipping abroad?", None, Some("shipping.md")),
    ("When is the money for a parcel paid back?", None, Some("returns.md")),
    (
        "Which library counts tokens with tiktoken's vocabularies?",
        None,
        Some("0017-tokens-are-counted-by-the-host.md"),
    ),
    ("Why do websockets end at the gateway?", None, Some("0016-websockets-end-at-the-gateway.md")),
    (
        "Which tenants of a file win over those of the admin API?",
        None,
        Some("0006-tenants-in-two-sources.md"),
    ),
    ("How does the work queue order background responses?", None, Some("0014-work-queue.md")),
    ("How long is a summary of a conversation?", None, Some("0018-summaries.md")),
    ("Which crate reads PDF documents?", None, Some("0022-documents.md")),
    ("Are tools components in a process of their own?", None, Some("0025-component-tools.md")),
    ("国内运费多少？满多少免运费？", None, Some("shipping-zh.md")),
    ("商品签收后多少天内可以退货？", None, Some("returns-zh.md")),
    ("When is the money for a parcel paid back?", Some("shop"), Some("returns.md")),
    // Another kind of file has the answer.
    ("Which library counts tokens with tiktoken's vocabularies?", Some("shop"), None),
    ("商品签收后多少天内可以退货？", Some("decision"), None),
    ("Xylophones?", None, None),
    ("Do penguins like jazz music?", None, None),
    ("下雨天适合种番茄吗？", None, None),
];

/// The application with its functions composed as Spin composes them, so that it needs none of the host's own interfaces.
fn portable() -> Setup {
    build_functions();
    let setup = Setup::manifest("");
    let path = root().join("spin.toml");
    let manifest = Manifest::load(&path, &LoadOptions::default()).unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    let mut names = Vec::new();
    for component in &manifest.components {
        let mut file = manifest.source_path(component);
        if !component.dependencies.is_empty() {
            file = composed(setup.folder(), &file, &dependencies_of(&manifest, component));
            names.push(component.id.value.as_str());
        }
        for import in component_imports(&file) {
            assert!(!import.starts_with("waggle:"), "{} imports {import}", component.id.value);
        }
        // The dependencies stay named, so that the components they name are taken for no functions; the host loads none.
        let source = format!("\"{}\"", component.source.value);
        assert!(text.contains(&source), "{source} is not in spin.toml");
        text = text.replace(&source, &format!("\"{}\"", file.display()));
    }
    assert_eq!(names, ["chat", "retrieval", "tools", "channels"]);
    fs::write(setup.folder().join("spin.toml"), text).unwrap();
    setup
}

/// A chunk that was found.
#[derive(Debug)]
struct Found {
    file: String,
    text: String,
    attributes: Value,
    /// The cosine of its vector and the question's.
    score: f64,
}

impl Found {
    fn new(result: &Value, text: &str) -> Self {
        Self {
            file: result["filename"].as_str().unwrap().to_owned(),
            text: text.to_owned(),
            attributes: result["attributes"].clone(),
            score: result["score"].as_f64().unwrap(),
        }
    }

    /// What names it on either host.
    fn chunk(&self) -> (&str, &str) {
        (&self.file, &self.text)
    }
}

fn chunks(found: &[Found]) -> BTreeSet<(&str, &str)> {
    found.iter().map(Found::chunk).collect()
}

/// The first results.
fn first(found: &[Found]) -> &[Found] {
    found.get(..FIRST).unwrap_or(found)
}

/// One of the hosts, with the documents in a vector store.
struct Side {
    server: Server,
    shelf: Shelf,
    store: String,
}

impl Side {
    async fn start(setup: Setup) -> Self {
        // A result is one chunk: what is joined to it would depend on the order of those before it.
        let server = embedded(setup).args(&["--variable", "search_neighbours=0"]).start();
        let shelf = Shelf::of(Caller::nobody(&server));
        let store = shelf.store(&[]).await;
        let side = Self { server, shelf, store };
        for (kind, path) in FILES {
            let content = fs::read(root().join(path)).unwrap();
            side.add(kind, path.rsplit('/').next().unwrap(), &content).await;
        }
        for (name, content) in CHINESE {
            side.add("shop", name, content.as_bytes()).await;
        }
        let object = side.shelf.settled(&side.store).await;
        assert_eq!(object["file_counts"]["completed"], FILES.len() + CHINESE.len(), "{object}");
        assert_eq!(object["waggle_search"], "hybrid", "{object}");
        side
    }

    async fn add(&self, kind: &str, name: &str, content: &[u8]) {
        let file = self.shelf.file(name, content).await;
        self.shelf.add(&self.store, &file, json!({ "kind": kind })).await;
    }

    /// Whether the host keeps indexes itself.
    fn keeps_indexes(&self) -> bool {
        state_of(&self.server.setup).join("vector").exists()
    }

    async fn search(&self, question: &str, kind: Option<&str>) -> Vec<Found> {
        let mut body = json!({ "query": question, "max_num_results": RESULTS_MAX });
        if let Some(kind) = kind {
            body["filters"] = filter(kind);
        }
        let results = self.shelf.search(&self.store, &body).await;
        results.iter().map(|result| Found::new(result, text(result))).collect()
    }

    async fn turn(&self, question: &str, kind: Option<&str>) -> Answer {
        let mut tool =
            json!({ "type": "file_search", "vector_store_ids": [self.store], "max_num_results": FIRST });
        if let Some(kind) = kind {
            tool["filters"] = filter(kind);
        }
        let body = json!({ "input": question, "tools": [tool], "include": ["file_search_call.results"] });
        self.shelf.caller.post("/v1/responses", &body).await
    }

    /// The statuses and errors of requests that are wrong.
    async fn refusals(&self) -> Vec<(u16, Value)> {
        let own = format!("/v1/vector_stores/{}/search", self.store);
        let unlike = json!({ "type": "like", "key": "kind", "value": "shop" });
        let absent = "vs_000000000000000000000000";
        let other = format!("/v1/vector_stores/{absent}/search");
        let elsewhere = json!({ "type": "file_search", "vector_store_ids": [absent] });
        let mut seen = Vec::new();
        for (path, body) in [
            (own.as_str(), json!({ "query": "" })),
            (own.as_str(), json!({ "query": "x", "max_num_results": 51 })),
            (own.as_str(), json!({ "query": "x", "filters": unlike })),
            (other.as_str(), json!({ "query": "x" })),
            ("/v1/responses", json!({ "input": "x", "tools": [elsewhere] })),
        ] {
            let answer = self.shelf.caller.post(path, &body).await;
            assert!((400..500).contains(&answer.status), "{path} {body}: {answer:?}");
            seen.push((answer.status, answer.json()["error"].take()));
        }
        seen
    }
}

fn filter(kind: &str) -> Value {
    json!({ "type": "eq", "key": "kind", "value": kind })
}

/// That both have found the same.
fn check_found((question, kind, file): Question, host: &[Found], fallback: &[Found]) {
    let place = format!("{question} of {kind:?}\nthe host: {host:#?}\nthe fallback: {fallback:#?}");
    // Where nothing answers it, the order is that of chance.
    if let Some(file) = file {
        assert_eq!(host.first().map(|first| first.file.as_str()), Some(file), "{place}");
        assert_eq!(host.first().map(Found::chunk), fallback.first().map(Found::chunk), "{place}");
        assert_eq!(chunks(first(host)), chunks(first(fallback)), "{place}");
    }
    assert!(host.len() < RESULTS_MAX, "there may be more: {place}");
    assert_eq!(chunks(host), chunks(fallback), "{place}");
    for one in host {
        let other = fallback.iter().find(|other| other.chunk() == one.chunk()).unwrap();
        assert!((one.score - other.score).abs() < ROUNDING, "{place}");
        assert_eq!(one.attributes, other.attributes, "{place}");
        assert!(kind.is_none_or(|kind| one.attributes["kind"] == kind), "{place}");
    }
}

/// That both answer a turn by the same sources, or say alike that there are none.
fn check_answered((question, kind, file): Question, host: &Answer, fallback: &Answer) {
    let place = format!("{question} of {kind:?}\nthe host: {host:?}\nthe fallback: {fallback:?}");
    assert_eq!((host.status, fallback.status), (200, 200), "{place}");
    let known_as = if file.is_some() { "extracted" } else { "none" };
    assert_eq!(host.header("x-waggle-answer"), known_as, "{place}");
    assert_eq!(fallback.header("x-waggle-answer"), known_as, "{place}");
    let (host, fallback) = (host.json(), fallback.json());
    let found = |response: &Value| -> Vec<Found> {
        let results = response["output"][0]["results"].as_array().cloned().unwrap_or_default();
        results.iter().map(|result| Found::new(result, result["text"].as_str().unwrap())).collect()
    };
    let (by_host, by_fallback) = (found(&host), found(&fallback));
    assert_eq!(by_host.is_empty(), file.is_none(), "{place}");
    assert_eq!(by_host.first().map(Found::chunk), by_fallback.first().map(Found::chunk), "{place}");
    assert_eq!(chunks(&by_host), chunks(&by_fallback), "{place}");
    let cited = |response: &Value| -> BTreeSet<String> {
        let names = said(response).1.iter().map(|citation| citation["filename"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(cited(&host), cited(&fallback), "{place}");
    assert_eq!(cited(&host).is_empty(), file.is_none(), "{place}");
    if file.is_none() {
        assert_eq!(said(&host).0, said(&fallback).0, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_components_that_spin_composes_functions_with_find_refuse_and_cite_the_same() {
    let host = Side::start(Setup::application()).await;
    let fallback = Side::start(portable()).await;
    for question in QUESTIONS {
        let (words, kind, _) = question;
        let found = (host.search(words, kind).await, fallback.search(words, kind).await);
        check_found(question, &found.0, &found.1);
        check_answered(question, &host.turn(words, kind).await, &fallback.turn(words, kind).await);
    }
    assert_eq!(host.refusals().await, fallback.refusals().await);
    // The one has used the host's indexes all along, the other never.
    assert_eq!((host.keeps_indexes(), fallback.keeps_indexes()), (true, false));
}
