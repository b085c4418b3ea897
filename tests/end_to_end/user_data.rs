//! A user's data over all functions: exported by one call, erased by one call, and nobody else's with it.

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::retrieval_support::Shelf;
use crate::support::{Server, Setup};
use crate::tenants_support::{Answer, Caller, run};
use serde_json::{Value, json};

const SECRET: (&str, &str) = ("ISSUER_SECRET", "a-shared-secret-of-32-bytes-or-more!");
const ISSUER: [&str; 4] = ["--issuer", "bank-development", "--audience", "waggle"];
/// What receipts count.
const COUNTED: [&str; 6] = ["conversations", "items", "responses", "files", "vector_stores", "tool_calls"];

fn start() -> Server {
    let lines = format!(
        "[[tenant.bank.issuers]]\nissuer = \"{}\"\naudience = \"{}\"\nsecret = {{ environment = \"{}\" }}",
        ISSUER[1], ISSUER[3], SECRET.0
    );
    with_tenants(Setup::application().env(SECRET.0, SECRET.1), [("bank", lines.as_str())]).start()
}

/// A user of the bank.
fn user(server: &Server, name: &str) -> Shelf {
    let wishes = ["token", "--tenant", "bank", "--user", name, "--secret-environment", SECRET.0];
    let (done, token, error) = run(&[&wishes[..], &ISSUER].concat(), &[SECRET]);
    assert!(done, "{error}");
    Shelf::of(Caller::with(server, token.trim()))
}

/// What a user has.
struct Owned {
    conversation: String,
    store: String,
    file: String,
}

impl Owned {
    /// A conversation with a turn, a file in a vector store, and a call of a tool.
    async fn make(shelf: &Shelf, text: &str) -> Self {
        let conversation = shelf.caller.conversation().await;
        let turn = json!({ "input": text, "conversation": conversation });
        shelf.done("POST", "/v1/responses", &turn).await;
        let (store, file) = shelf.store_of("note.txt", text).await;
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "calculator", "arguments": { "expression": "6*7" } } });
        let request = shelf.caller.request("POST", "/mcp").json(&call);
        let request = request.header("accept", "application/json, text/event-stream");
        let called = Answer::of(request.header("mcp-protocol-version", "2025-11-25")).await;
        assert_eq!(called.json()["result"]["content"][0]["text"], "42", "{called:?}");
        Self { conversation, store, file }
    }

    /// How each of them is answered.
    async fn statuses(&self, caller: &Caller) -> [u16; 3] {
        let Self { conversation, store, file } = self;
        [
            caller.status(&format!("/v1/conversations/{conversation}")).await,
            caller.status(&format!("/v1/vector_stores/{store}")).await,
            caller.status(&format!("/v1/files/{file}")).await,
        ]
    }
}

/// How many files, vector stores and calls of tools are listed of a user.
async fn listed(shelf: &Shelf, user: &str) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, path) in counts.iter_mut().zip(["/v1/files", "/v1/vector_stores", "/v1/tools/audit"]) {
        let list = shelf.done("GET", &format!("{path}?user={user}"), &Value::Null).await;
        *count = list["data"].as_array().unwrap().len();
    }
    counts
}

fn counted(receipt: &Value) -> [u64; 6] {
    assert_eq!(receipt.get("incomplete"), None, "{receipt}");
    COUNTED.map(|member| receipt[member].as_u64().unwrap_or_else(|| panic!("no {member} in {receipt}")))
}

async fn export(shelf: &Shelf, user: &str) -> Vec<Value> {
    let exported = Answer::of(shelf.caller.request("POST", &format!("/v1/users/{user}/export"))).await;
    assert_eq!(exported.status, 200, "{exported:?}");
    exported.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_functions_keep_of_a_user_is_exported_and_erased_by_one_call_each() {
    let server = start();
    let service = Shelf::of(Caller::with(&server, &key_of("bank")));
    let [ada, bob] = ["ada", "bob"].map(|name| user(&server, name));
    let of_ada = Owned::make(&ada, "The note of Ada.").await;
    let of_bob = Owned::make(&bob, "The note of Bob.").await;
    Owned::make(&service, "The note of the bank.").await;

    for asker in [&service, &ada] {
        let lines = export(asker, "ada").await;
        let mut kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        let expected =
            ["conversation", "file", "item", "item", "receipt", "response", "tool_call", "vector_store"];
        assert_eq!(kinds, expected, "{lines:?}");
        assert_eq!(counted(lines.last().unwrap()), [1, 2, 1, 1, 1, 1]);
        let line = |kind: &str| lines.iter().find(|line| line["type"] == kind).unwrap();
        assert_eq!(line("file")["file"]["id"], of_ada.file.as_str());
        let bytes = asker.caller.get(line("file")["content"].as_str().unwrap()).await;
        assert_eq!(bytes.text, "The note of Ada.");
        assert_eq!(line("vector_store")["vector_store"]["id"], of_ada.store.as_str());
        let call = &line("tool_call")["tool_call"];
        assert_eq!((&call["user"], &call["function"]), (&json!("ada"), &json!("calculator")), "{call}");
    }

    for path in ["/v1/users/ada/data", "/v1/users/nobody-here/data"] {
        assert_eq!(Answer::of(bob.caller.request("DELETE", path)).await.status, 404, "{path}");
    }
    let erased = service.done("DELETE", "/v1/users/ada/data", &Value::Null).await;
    assert_eq!(counted(&erased), [1, 2, 1, 1, 1, 1]);
    for asker in [&service, &ada] {
        assert_eq!(listed(asker, "ada").await, [0; 3]);
        assert_eq!(of_ada.statuses(&asker.caller).await, [404; 3]);
        assert_eq!(export(asker, "ada").await.len(), 1, "a receipt, and nothing else");
    }
    let again = service.done("DELETE", "/v1/users/ada/data", &Value::Null).await;
    assert_eq!(counted(&again), [0; 6]);

    assert_eq!((listed(&service, "bob").await, listed(&bob, "bob").await), ([1; 3], [1; 3]));
    assert_eq!(of_bob.statuses(&bob.caller).await, [200; 3]);
    let erased = bob.done("DELETE", "/v1/users/bob/data", &Value::Null).await;
    assert_eq!(counted(&erased), [1, 2, 1, 1, 1, 1]);
    assert_eq!(listed(&service, "bob").await, [0; 3]);
    let of_all = service.done("GET", "/v1/tools/audit", &Value::Null).await;
    assert_eq!(of_all["data"].as_array().unwrap().len(), 1, "the service's own: {of_all}");
}
