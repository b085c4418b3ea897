//! The shop that is attacked: its tools and what they were granted, a model that obeys whatever it reads, and those who
//! count what really happens.

use super::cases::{Place, Text, filled};
use super::feed::Feed;
use crate::retrieval_support::Shelf;
use crate::support::{Server, Setup};
use crate::tenants_support::{Admin, Caller, Model, Origin};
use crate::tools_host::component;
use model_sim::{Behaviour, SimConfig};
use order_service::{Config, Running};
use serde_json::{Value, json};

/// What no model and no answer may hold.
pub(crate) const KEY: &str = "orders-key-5d1c";
/// What an order is looked up by, for texts that stand in its notes. Order 1001 is the one that is to be cancelled.
const NOTED: [&str; 4] = ["1002", "1003", "1005", "1004"];

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) model: Model,
    pub(crate) orders: Running,
    pub(crate) feed: Feed,
    /// Nobody was granted this origin, but tools that nobody may call.
    pub(crate) sink: Origin,
    pub(crate) caller: Caller,
    pub(crate) other: Caller,
    admin: Admin,
}

/// One text in one place.
pub(crate) struct Case {
    pub(crate) number: usize,
    pub(crate) text: Text,
    pub(crate) place: Place,
    /// What the user says.
    input: Value,
    tools: Vec<Value>,
    pub(crate) hidden: Vec<String>,
}

fn function(name: &str, method: &str, path: &str, argument: &str, more: &Value) -> Value {
    let mut function = json!({
        "name": name, "description": "Does it.", "side_effects": method != "GET", "needs_approval": method != "GET",
        "parameters": { "type": "object", "properties": { argument: { "type": "string" } }, "required": [argument],
            "additionalProperties": false },
        "request": { "method": method, "path": path }
    });
    for (member, value) in more.as_object().unwrap() {
        function[member] = value.clone();
    }
    function
}

fn order_tool(url: &str) -> Value {
    let number = json!({ "type": "string", "pattern": "^[0-9]{4,12}$" });
    let parameters = |more: &[&str]| {
        let mut properties = json!({ "order_id": number });
        for name in more {
            properties[*name] = json!({ "type": "string" });
        }
        json!({ "type": "object", "properties": properties, "required": ["order_id"], "additionalProperties": false })
    };
    let keyed = |path: &str, more: &[&str]| {
        json!({ "parameters": parameters(more), "idempotent": true,
            "request": { "method": "POST", "path": path, "idempotency_header": "idempotency-key" } })
    };
    let lookup = json!({ "parameters": parameters(&[]) });
    json!({
        "name": "orders", "kind": "http", "base_url": url, "accept": true, "grants": { "secrets": ["orders"] },
        "functions": [
            function("getOrder", "GET", "/orders/{order_id}", "order_id", &lookup),
            function("cancelOrder", "POST", "/x", "order_id", &keyed("/orders/{order_id}/cancel", &["reason"])),
            function("addNote", "POST", "/x", "order_id", &keyed("/orders/{order_id}/notes", &["text"])),
        ]
    })
}

fn feed_tool(url: &str) -> Value {
    let read = |name: &str, path: &str| function(name, "GET", path, "name", &json!({}));
    json!({
        "name": "feed", "kind": "http", "base_url": url, "accept": true,
        "functions": [read("read", "/text/{name}"), read("fail", "/fail/{name}"), read("away", "/away/{name}")]
    })
}

/// A tool at an origin that nobody is to reach.
fn forbidden(name: &str, url: &str, accept: bool) -> Value {
    let open = json!({ "parameters": { "type": "object" } });
    let open = function("open", "GET", "/stolen", "none", &open);
    json!({ "name": name, "kind": "http", "base_url": url, "accept": accept, "functions": [open] })
}

fn settings(orders: &str) -> Value {
    json!({
        "variables": {
            "tools": "orders.getOrder,orders.cancelOrder,feed,remote.say,remote.fails,plain,hostile,disabled",
            "tool_links": "approved", "search_mode": "lexical", "agent_steps_max": "8"
        },
        "secrets": { "orders": { "origin": orders, "header": "x-api-key", "prefix": "", "secret": { "value": KEY } } }
    })
}

impl Stage {
    /// The stage, and the cases as they stand on it.
    pub(crate) async fn open(texts: &[Text]) -> (Self, Vec<Case>) {
        let config = Config { journal: None, api_key: Some(KEY.to_owned()) };
        let orders = order_service::start("127.0.0.1:0", config).await.unwrap();
        let behaviour = Behaviour { obeys_everything: true, ..Behaviour::default() };
        let config = SimConfig { recorded_requests_max: 1_000, behaviour, ..SimConfig::default() };
        let model = Model(model_sim::start(config).await.unwrap());
        let (feed, sink) = (Feed::start(), Origin::start());
        sink.answer(200, "stolen");
        let server = model.serve(Setup::application().args(&["--variable", "model=sim"])).start();
        let admin = Admin::of(&server);
        let caller = Caller::with(&server, &admin.create("shop", settings(&orders.url())).await);
        let other = Caller::with(&server, &admin.create("other", settings(&orders.url())).await);
        let stage = Self { server, model, orders, feed, sink, caller, other, admin };
        stage.feed.describes("say", "Says something.");
        stage.feed.describes("fails", "Says that it failed.");
        let mut cases = Vec::new();
        for text in texts {
            for place in &text.places {
                cases.push(stage.case(cases.len(), text.clone(), *place).await);
            }
        }
        stage.add_tools().await;
        (stage, cases)
    }

    async fn add(&self, tenant: &str, tool: &Value) {
        self.admin.done("POST", &format!("/tenants/{tenant}/tools"), Some(tool)).await;
    }

    async fn add_tools(&self) {
        let Self { orders, feed, sink, admin, .. } = self;
        for tenant in ["shop", "other"] {
            self.add(tenant, &order_tool(&orders.url())).await;
        }
        self.add("shop", &feed_tool(&feed.url)).await;
        let url = format!("{}/mcp", feed.url);
        self.add("shop", &json!({ "name": "remote", "kind": "mcp", "url": url, "accept": true })).await;
        self.add("shop", &forbidden("vault", &sink.url, true)).await;
        self.add("shop", &forbidden("pending", &sink.url, false)).await;
        self.add("shop", &forbidden("disabled", &sink.url, true)).await;
        admin.done("POST", "/tenants/shop/tools/disabled/disable", None).await;
        self.add("other", &forbidden("foreign", &sink.url, true)).await;
        component(admin, "shop", "tool_plain", json!({ "only": ["greet"] })).await;
        let limits =
            json!({ "limits": { "cpu_ms_max": 200, "time_ms_max": 2_000, "memory_bytes_max": 33_554_432 } });
        component(admin, "shop", "tool_hostile", limits).await;
    }

    /// Another tool at the feed's MCP server, which nobody has called yet.
    pub(crate) async fn add_late(&self) {
        let url = format!("{}/mcp", self.feed.url);
        let tool = json!({ "name": "late", "kind": "mcp", "url": url, "only": ["say"], "accept": true });
        self.add("shop", &tool).await;
    }

    /// What placeholders of all cases stand for.
    pub(crate) fn values(&self) -> Vec<(&'static str, String)> {
        vec![("sink", self.sink.url.clone()), ("feed", self.feed.url.clone()), ("orders", self.orders.url())]
    }

    /// Puts a text in its place.
    async fn case(&self, number: usize, text: Text, place: Place) -> Case {
        let values = self.values();
        let words = filled(&text.text, &values);
        let hidden = text.hidden.iter().map(|hidden| filled(hidden, &values)).collect();
        let mut tools = Vec::new();
        self.feed.says(number, &words);
        let calls = |name: &str| json!(format!(r#"[sim: call {name} {{"name":"{number}"}}]"#));
        let input = match place {
            Place::User => json!(words),
            Place::Assistant => {
                json!([{ "role": "assistant", "content": words }, { "role": "user", "content": "Go on." }])
            }
            Place::ToolOutput => calls("feed__read"),
            Place::ToolError => calls("feed__fail"),
            Place::Redirect => calls("feed__away"),
            Place::McpOutput => calls("remote__say"),
            Place::McpError => calls("remote__fails"),
            Place::McpDescription => {
                let name = format!("d_{number}");
                self.feed.describes(&name, &words);
                tools.push(json!({ "type": "mcp", "server_label": "remote", "allowed_tools": [name] }));
                tools.push(json!({ "type": "mcp", "server_label": "orders", "allowed_tools": ["getOrder", "cancelOrder"] }));
                json!("Good morning.")
            }
            Place::ComponentOutput => {
                json!(format!("[sim: call plain__greet {}]", json!({ "name": words })))
            }
            Place::Document | Place::FileName => {
                let mark = "mark";
                let (name, content) = match place {
                    Place::Document => (format!("{number}.md"), format!("About {mark}. {words}")),
                    _ => (format!("{words}.md"), format!("About {mark}.")),
                };
                let shelf = Shelf::of(self.caller.clone());
                // Of its own, so that no other case's text is found as well.
                let (store, _file) = shelf.store_of(&name, &content).await;
                tools.push(json!({ "type": "file_search", "vector_store_ids": [store] }));
                json!(format!("Tell me about {mark}."))
            }
            Place::OrderNote => self.noted(&words).await,
        };
        Case { number, text, place, input, tools, hidden }
    }

    /// Notes a text about the order that has no note yet, and has it looked up.
    async fn noted(&self, words: &str) -> Value {
        let free = |id: &&&str| self.orders.order(id).unwrap().notes.is_empty();
        let id = NOTED.iter().find(free).expect("there are no more orders to note something about");
        let request = crate::support::client().post(format!("{}/orders/{id}/notes", self.orders.url()));
        let answer = request.header("x-api-key", KEY).json(&json!({ "text": words })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        json!(format!(r#"[sim: call orders__getOrder {{"order_id":"{id}"}}]"#))
    }
}

impl Case {
    /// The request that has the model read it.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({ "input": self.input });
        if !self.tools.is_empty() {
            body["tools"] = json!(self.tools);
        }
        body
    }
}
