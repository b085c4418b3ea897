//! Who may see what: every endpoint, by everybody, on everybody's records.

use crate::support::{Client, Piece, Script, World, bytes, delta, ending, id, says, streams, world};
use serde_json::{Value, json};
use waggle_chat::Reply;
use waggle_chat::route::{Route, endpoints};
use waggle_openai::Nonce;

/// Those who call, and those whose records there are: a service, and two users of whom one's name begins like the
/// other's.
const CALLERS: [Option<&str>; 3] = [None, Some("ada"), Some("adam")];

/// Endpoints that name no record in their path. The first three refer to some in their bodies.
const WITHOUT_A_RECORD: [(&str, &str); 10] = [
    ("POST", "/v1/responses"),
    ("POST", "/v1/responses/input_tokens"),
    ("POST", "/v1/responses/compact"),
    ("POST", "/v1/conversations"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
];

fn sees(caller: Option<&str>, owner: Option<&str>) -> bool {
    caller.is_none() || caller == owner
}

/// The ids of records that hang together.
struct Ids {
    conversation: String,
    item: String,
    response: String,
    session: String,
    user: String,
}

impl Ids {
    /// A conversation with an item and a turn, all of them `owner`'s.
    fn of(world: &World, owner: Option<&str>) -> Self {
        let world = world.called_by(owner);
        let body = json!({"items": [{"role": "user", "content": "a secret"}]});
        let conversation = id(&world.json("POST", "/v1/conversations", &body, 200)).to_owned();
        let path = format!("/v1/conversations/{conversation}/items");
        let item = id(&world.json("GET", &path, &Value::Null, 200)["data"][0]).to_owned();
        let body = json!({"input": "another secret", "conversation": conversation});
        let response = id(&world.turn(&body, "yes")).to_owned();
        let user = owner.unwrap_or("of-a-service").to_owned();
        world.script(says("a secret answer"));
        let body = json!({"user": user, "query": "a third secret"});
        let turn = world.json("POST", "/v1/chat", &body, 200);
        Self { conversation, item, response, session: turn["session"].as_str().unwrap().to_owned(), user }
    }

    /// Ids of nothing.
    fn unknown() -> Self {
        let nonce = Nonce::mint(7, 7);
        Self {
            conversation: format!("conv_{nonce}"),
            item: format!("msg_{nonce}000"),
            response: format!("resp_{nonce}"),
            session: format!("conv_{nonce}"),
            user: "nobody".to_owned(),
        }
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("{conversation}", &self.conversation)
            .replace("{item}", &self.item)
            .replace("{response}", &self.response)
            .replace("{session}", &self.session)
            .replace("{user}", &self.user)
    }

    /// What was said of these, as if it had been said of `others`.
    fn rename(&self, text: &str, others: &Self) -> String {
        text.replace(&self.conversation, &others.conversation)
            .replace(&self.item, &others.item)
            .replace(&self.response, &others.response)
            .replace(&self.session, &others.session)
            .replace(&format!("'{}'", self.user), &format!("'{}'", others.user))
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// A good body for an endpoint.
fn body(method: &str, template: &str) -> &'static str {
    match (method, template) {
        ("POST", "/v1/conversations/{conversation}") => r#"{"metadata":{"k":"v"}}"#,
        ("POST", "/v1/conversations/{conversation}/handover") => r#"{"reason":"asked for a person"}"#,
        ("POST", "/v1/conversations/{conversation}/items") => r#"{"items":[{"role":"user","content":"x"}]}"#,
        _ => {
            let route = Route::find(method, &Ids::unknown().fill(template)).unwrap();
            assert!(!route.has_body(), "say here what a good body for {method} {template} is");
            ""
        }
    }
}

/// Sends one request about things the caller does not see, and one about things that do not exist: same answer, same
/// work, nothing changed, nobody asked.
fn check_hidden(world: &World, theirs: &Ids, request: (&str, &str, &str)) -> Reply {
    let (method, path, body) = request;
    let unknown = Ids::unknown();
    let before = world.store.dump();
    let asked = world.model.requests.borrow().len();
    world.store.operations();
    let hidden = world.send(method, &theirs.fill(path), &theirs.fill(body));
    let work = world.store.operations();
    let absent = world.send(method, &unknown.fill(path), &unknown.fill(body));
    let what = format!("{method} {path} {body} by {:?}", world.user);
    assert_eq!(theirs.rename(&text(&hidden), &unknown), text(&absent), "{what}");
    assert_eq!((hidden.status, &hidden.headers), (absent.status, &absent.headers), "{what}");
    assert_eq!(work, world.store.operations(), "{what}");
    assert_eq!(world.store.dump(), before, "{what}");
    assert_eq!(world.model.requests.borrow().len(), asked, "{what}");
    hidden
}

fn check_endpoint(method: &str, path: &str, owner: Option<&str>, caller: Option<&str>) {
    let world = world().called_by(caller);
    let ids = Ids::of(&world, owner);
    let body = body(method, path);
    if sees(caller, owner) {
        if path.ends_with("/export") {
            return assert!(world.lines("POST", &ids.fill(path)).len() > 1, "{owner:?} by {caller:?}");
        }
        let reply = world.send(method, &ids.fill(path), body);
        // Only background responses can be cancelled, and these are none.
        let expected = if path.ends_with("/cancel") { 400 } else { 200 };
        assert_eq!(reply.status, expected, "{method} {path} of {owner:?} by {caller:?}: {}", text(&reply));
        return;
    }
    assert_eq!(check_hidden(&world, &ids, (method, path, body)).status, 404, "{method} {path}");
    for query in ["?after={item}", "?after={item}&order=asc&limit=1", "?limit=0", "?x={response}"] {
        check_hidden(&world, &ids, (method, &format!("{path}{query}"), body));
    }
    for wrong in ["{", "{}", "[]", r#"{"metadata":{"user":"ada"}}"#] {
        check_hidden(&world, &ids, (method, path, wrong));
    }
}

#[test]
fn on_every_endpoint_what_a_user_does_not_own_does_not_exist() {
    let mut without = Vec::new();
    for (method, path) in endpoints() {
        if !["{response}", "{conversation}", "{item}", "{session}", "{user}"]
            .iter()
            .any(|place| path.contains(place))
        {
            without.push((method, path));
            continue;
        }
        for owner in CALLERS {
            for caller in CALLERS {
                check_endpoint(method, &path, owner, caller);
            }
        }
    }
    let without: Vec<(&str, &str)> = without.iter().map(|(method, path)| (*method, path.as_str())).collect();
    assert_eq!(without, WITHOUT_A_RECORD, "say of a new endpoint what it refers to, and check that here");
}

#[test]
fn on_every_reference_of_a_turn_what_a_user_does_not_own_does_not_exist() {
    for reference in [
        r#""previous_response_id":"{response}""#,
        r#""conversation":"{conversation}""#,
        r#""conversation":{"id":"{conversation}"}"#,
    ] {
        for owner in CALLERS {
            for caller in CALLERS {
                for more in ["", r#","store":false"#, r#","stream":true"#, r#","user":"ada""#] {
                    let body = format!(r#"{{"input":"x",{reference}{more}}}"#);
                    check_turn(&body, owner, caller);
                }
                let world = world().called_by(caller);
                let ids = Ids::of(&world, owner);
                let body = r#"{"input":"x","previous_response_id":"{response}"}"#;
                if !sees(caller, owner) {
                    check_hidden(&world, &ids, ("POST", "/v1/responses/compact", body));
                }
            }
        }
    }
}

fn check_turn(body: &str, owner: Option<&str>, caller: Option<&str>) {
    let world = world().called_by(caller);
    let ids = Ids::of(&world, owner);
    if !sees(caller, owner) {
        let expected = if body.contains("previous") { 400 } else { 404 };
        for path in ["/v1/responses", "/v1/responses/input_tokens"] {
            assert_eq!(check_hidden(&world, &ids, ("POST", path, body)).status, expected, "{path} {body}");
        }
        return;
    }
    assert_eq!(world.send("POST", "/v1/responses/input_tokens", &ids.fill(body)).status, 200, "{body}");
    let body: Value = serde_json::from_str(&ids.fill(body)).unwrap();
    if body["stream"] == true {
        world.script(streams(vec![bytes(&delta("ok")), bytes(&ending("stop"))]));
        world.stream("/v1/responses", &body, &Client::default());
    } else {
        world.turn(&body, "ok");
    }
    assert!(world.last_messages().contains(&"another secret".to_owned()), "{:?}", world.last_messages());
}

#[test]
fn an_item_is_reached_through_its_own_conversation_only() {
    let world = world();
    let (hers, his) = (Ids::of(&world, Some("ada")), Ids::of(&world, Some("adam")));
    let mixed = Ids { conversation: hers.conversation.clone(), ..his };
    let ada = world.called_by(Some("ada"));
    let unknown = Ids { conversation: hers.conversation, ..Ids::unknown() };
    for (method, path) in endpoints().filter(|(_, path)| path.contains("{item}")) {
        let before = world.store.dump();
        let (hidden, absent) =
            (ada.send(method, &mixed.fill(&path), ""), ada.send(method, &unknown.fill(&path), ""));
        assert_eq!((hidden.status, absent.status), (404, 404), "{method} {path}");
        assert_eq!(mixed.rename(&text(&hidden), &unknown), text(&absent), "{method} {path}");
        assert_eq!(world.store.dump(), before);
    }
    let cursor = "/v1/conversations/{conversation}/items?after={item}";
    let replies = [&mixed, &unknown].map(|ids| ada.send("GET", &ids.fill(cursor), ""));
    assert_eq!((replies[0].status, &replies[0].body), (400, &replies[1].body));
}

/// Whose the stored records are whose key begins with `prefix` and has no more parts.
fn owners(world: &World, prefix: &str) -> Vec<Option<String>> {
    let dump = world.store.dump();
    let records = dump
        .iter()
        .filter(|(key, _)| key.strip_prefix(prefix).is_some_and(|rest| Nonce::parse(rest).is_some()));
    records
        .map(|(_, value)| {
            let record: Value = serde_json::from_slice(value).unwrap();
            record.get("user").map(|user| user.as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn what_a_service_adds_belongs_to_whose_it_continues() {
    for owner in CALLERS {
        let world = world();
        let ids = Ids::of(&world, owner);
        let service = world.called_by(None);
        service.json("DELETE", &ids.fill("/v1/sessions/{session}"), &Value::Null, 200);
        let path = ids.fill("/v1/conversations/{conversation}");
        service.json("POST", &path, &json!({"metadata": {"by": "service"}}), 200);
        let items = json!({"items": [{"role": "user", "content": "x"}]});
        service.json("POST", &format!("{path}/items"), &items, 200);
        let in_conversation = json!({"input": "2", "conversation": ids.conversation});
        let second = service.turn(&in_conversation, "two");
        let third = service.turn(&json!({"input": "3", "previous_response_id": id(&second)}), "three");
        service.script(Script::Fails(waggle_model::transport::TransportFailure::TimedOut("x".into())));
        service.json("POST", "/v1/responses", &in_conversation, 504);
        service.script(streams(vec![bytes(&delta("gone")), Piece::Hangs]));
        let streamed = json!({"input": "4", "previous_response_id": id(&third), "stream": true});
        service.stream("/v1/responses", &streamed, &Client { leaves_after: Some(2), ..Client::default() });
        let owner_text = owner.map(str::to_owned);
        assert_eq!(owners(&world, "conversation/"), vec![owner_text.clone(); 1]);
        assert_eq!(owners(&world, "response/"), vec![owner_text; 5]);
        let continued = world.called_by(owner);
        continued.turn(&json!({"input": "5", "previous_response_id": id(&third)}), "five");
        let messages = continued.last_messages();
        assert_eq!(messages[messages.len() - 5..], ["2", "two", "3", "three", "5"]);
        continued.json("GET", &path, &Value::Null, 200);
    }
}

#[test]
fn records_without_an_owner_are_the_services() {
    let world = world();
    let nonce = Nonce::mint(1, 1);
    for user in ["", r#""user":null,"#] {
        let record = format!(r#"{{{user}"created_at":1,"metadata":{{}}}}"#);
        world.store.put(&format!("conversation/{nonce}"), record.as_bytes());
        let record = format!(
            r#"{{{user}"tokens":1,"ancestors":[],"response":{{"output":[],"user":"ada"}},"input":[]}}"#
        );
        world.store.put(&format!("response/{nonce}"), record.as_bytes());
        for path in [format!("/v1/conversations/conv_{nonce}"), format!("/v1/responses/resp_{nonce}")] {
            for (caller, status) in [(None, 200), (Some("ada"), 404), (Some("null"), 404)] {
                world.called_by(caller).json("GET", &path, &Value::Null, status);
            }
        }
    }
}

#[test]
fn no_field_of_a_request_gives_anybody_a_right() {
    let world = world();
    let adam = world.called_by(Some("adam"));
    let metadata = json!({"user": "ada", "waggle-user": "ada", "owner": "ada"});
    let body = json!({"input": "x", "user": "ada", "safety_identifier": "ada", "metadata": metadata});
    let response = adam.turn(&body, "y");
    let conversation = adam.json("POST", "/v1/conversations", &json!({"metadata": metadata}), 200);
    assert_eq!(owners(&world, "response/"), [Some("adam".to_owned())]);
    assert_eq!(owners(&world, "conversation/"), [Some("adam".to_owned())]);
    let ada = world.called_by(Some("ada"));
    ada.json("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null, 404);
    ada.json("GET", &format!("/v1/conversations/{}", id(&conversation)), &Value::Null, 404);
    let path = format!("/v1/conversations/{}?user=adam&waggle-user=adam", id(&conversation));
    ada.json("GET", &path, &Value::Null, 404);
    let body = json!({"input": "x", "user": "adam", "metadata": {"user": "adam"},
        "previous_response_id": id(&response)});
    ada.json("POST", "/v1/responses", &body, 400);
}

#[test]
fn an_ancestor_of_somebody_else_is_left_out() {
    let world = world();
    let his = world.called_by(Some("adam")).turn(&json!({"input": "his secret"}), "yes");
    let ada = world.called_by(Some("ada"));
    let first = ada.turn(&json!({"input": "1"}), "one");
    let second = ada.turn(&json!({"input": "2", "previous_response_id": id(&first)}), "two");
    let key = id(&second).replace("resp_", "response/");
    let record = String::from_utf8(world.store.dump()[&key].clone()).unwrap();
    let (hers, his) = (id(&first).replace("resp_", ""), id(&his).replace("resp_", ""));
    let forged = record.replacen(&format!("[\"{hers}\"]"), &format!("[\"{his}\",\"{hers}\"]"), 1);
    assert_ne!(forged, record);
    world.store.put(&key, forged.as_bytes());
    ada.turn(&json!({"input": "3", "previous_response_id": id(&second)}), "three");
    assert_eq!(ada.last_messages(), ["1", "one", "2", "two", "3"]);
}

#[test]
fn a_caller_who_cannot_be_told_is_not_served() {
    let values: [Vec<Vec<u8>>; 6] = [
        vec![b"".to_vec()],
        vec![b"an ada".to_vec()],
        vec![b"\xffada".to_vec()],
        vec![b"a".repeat(257)],
        vec![b"ada".to_vec(), b"ada".to_vec()],
        vec![b"ada".to_vec(), b"adam".to_vec()],
    ];
    let world = world();
    let ids = Ids::of(&world, None);
    let before = world.store.dump();
    world.store.operations();
    let asked = world.model.requests.borrow().len();
    for user in values {
        let caller = World { user, ..world.clone() };
        for (method, path) in endpoints() {
            let path = ids.fill(&path).replace("{model}", "m");
            let error = caller.json(method, &path, &json!({"input": "x"}), 500);
            assert_eq!(error["error"]["code"], "internal_error", "{method} {path}");
        }
    }
    assert_eq!(world.store.dump(), before);
    assert!(world.store.operations().is_empty());
    assert_eq!(world.model.requests.borrow().len(), asked);
    let lines = world.platform.lines.borrow();
    assert!(lines.iter().all(|line| line.contains("'waggle-user'") && !line.contains("ada")), "{lines:?}");
}

#[test]
fn who_is_calling_is_told_to_nobody() {
    const USER: &str = "canary-7f3c";
    let world = world();
    let canary = world.called_by(Some(USER));
    let ids = Ids::of(&world, Some(USER));
    // Whoever sees a session sees whose it is.
    for (method, path) in
        endpoints().filter(|(method, path)| *method == "GET" && !path.starts_with("/v1/sessions"))
    {
        canary.script(says("a completion is an object as well"));
        let reply = canary.send(method, &ids.fill(&path).replace("{model}", "m"), "");
        assert!(!format!("{:?}{}", reply.headers, text(&reply)).contains(USER), "{method} {path}");
        canary.model.scripts.borrow_mut().clear();
    }
    let client = Client::default();
    let messages = json!([{"role": "user", "content": "x"}]);
    for (path, body) in [
        ("/v1/responses", json!({"input": "x", "stream": true, "conversation": ids.conversation})),
        ("/v1/chat/completions", json!({"messages": messages, "stream": true})),
    ] {
        canary.script(streams(vec![bytes(&delta("ok")), bytes(&ending("stop"))]));
        canary.stream(path, &body, &client);
    }
    assert!(!client.writes.borrow().concat().contains(USER));
    let requests = world.model.requests.borrow();
    assert!(requests.len() >= 5, "{}", requests.len());
    for request in requests.iter() {
        let body = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
        assert!(!format!("{} {} {body}", request.url, request.api_key).contains(USER), "{body}");
    }
    assert!(!world.platform.lines.borrow().concat().contains(USER));
}

#[test]
fn an_owner_costs_a_turn_in_a_conversation_no_operation() {
    let operations = |caller: Option<&str>| {
        let world = world().called_by(caller);
        let ids = Ids::of(&world, caller);
        world.store.operations();
        world.turn(&json!({"input": "x", "conversation": ids.conversation}), "y");
        let mut operations = vec![world.store.operations()];
        for (method, path) in endpoints().filter(|(method, path)| *method == "GET" && path.contains('{')) {
            world.script(says("a completion is an object as well"));
            world.send(method, &ids.fill(&path).replace("{model}", "m"), "");
            operations.push(world.store.operations());
        }
        operations
    };
    assert_eq!(operations(Some("ada")), operations(None));
}

#[test]
fn what_stands_in_no_conversation_is_listed_by_one_operation() {
    let operations = |caller: Option<&str>| {
        let world = world().called_by(caller);
        let first = world.turn(&json!({"input": "x"}), "y");
        world.store.operations();
        world.turn(&json!({"input": "x", "previous_response_id": id(&first)}), "y");
        world.store.operations()
    };
    assert_eq!(operations(None), ["get 1", "set_many 1"]);
    assert_eq!(operations(Some("ada")), ["get 1", "increment 1", "set_many 2"]);
}
