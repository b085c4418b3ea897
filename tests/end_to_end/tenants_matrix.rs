//! Every id in every route of the chat function, tried with every other caller's credential: it is an unknown id.
//!
//! The routes are read from the function's own table, so a route that is new is tried as well, or this fails.

use crate::neighbours::tenants::{key_of, tenants_toml};
use crate::support::{Server, Setup, root};
use crate::tenants_support::{Answer, Caller, run};
use serde_json::{Value, json};
use std::fs;

const TENANTS: [&str; 4] = ["bank-a", "shop-b", "club-c", "default"];
/// The tenant whose users call as well.
const WITH_USERS: &str = "bank-a";
const USERS: [&str; 2] = ["alice", "bob"];
const ISSUER: [&str; 4] = ["--issuer", "https://id.example", "--audience", "waggle"];
const SECRET: (&str, &str) = ("ISSUER_SECRET", "0123456789abcdef0123456789abcdef");

/// A method and a path with `{…}` where something of the client's stands.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: String,
    pub(crate) path: String,
}

/// Every endpoint in the table of guest/chat/src/route.rs.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let source = fs::read_to_string(root().join("guest/chat/src/route.rs")).unwrap();
    let table = source.split_once("static RESOURCES: [Resource; ").expect("the table of routes").1;
    let (count, table) = table.split_once("] = [").unwrap();
    let table = table.split_once("\n];").unwrap().0;
    let resources: Vec<&str> = table.split("Resource {").skip(1).collect();
    assert_eq!(resources.len(), count.parse::<usize>().unwrap(), "the table is not understood:\n{table}");
    resources.into_iter().flat_map(read_resource).collect()
}

/// Every endpoint in the table of guest/retrieval/src/route.rs that a route leads to.
pub(crate) fn retrieval_endpoints() -> Vec<Endpoint> {
    let source = fs::read_to_string(root().join("guest/retrieval/src/route.rs")).unwrap();
    let resources: Vec<&str> =
        source.split("Resource {").skip(1).filter(|text| text.contains("path: \"/")).collect();
    assert!(resources.len() > 10, "the table is not understood");
    let read = |text: &&str| {
        let between =
            |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
        let path = between("path: \"", "\"");
        let methods = between("allow: \"", "\"");
        let endpoint = |method: &str| Endpoint { method: method.to_owned(), path: path.clone() };
        methods.split(", ").map(endpoint).collect::<Vec<_>>()
    };
    // What is kept as an answer is said by other functions, which need no route.
    let is_public = |endpoint: &Endpoint| endpoint.path != "/v1/retrieval/answers";
    resources.iter().flat_map(read).filter(is_public).collect()
}

fn read_resource(text: &str) -> Vec<Endpoint> {
    let between = |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let parts = between("parts: &[", "]").split(',').map(|part| match part.trim() {
        "RESPONSE" => "{response}".to_owned(),
        "CONVERSATION" => "{conversation}".to_owned(),
        "ITEM" => "{item}".to_owned(),
        "SESSION" => "{session}".to_owned(),
        "USER" => "{user}".to_owned(),
        part => {
            let quoted = part.split('"').nth(1);
            quoted.unwrap_or_else(|| panic!("the part {part} of a path is not understood")).to_owned()
        }
    });
    let path = format!("/v1/{}", parts.collect::<Vec<_>>().join("/"));
    let methods = text.split_once("methods:").unwrap().1.split("(\"").skip(1);
    let methods: Vec<&str> = methods.map(|text| text.split('"').next().unwrap()).collect();
    let allow = between("allow: \"", "\"");
    assert_eq!(methods.join(", "), allow, "the methods of {path} are not understood");
    let endpoint = |method: &str| Endpoint { method: method.to_owned(), path: path.clone() };
    methods.into_iter().map(endpoint).collect()
}

/// What a caller owns.
#[derive(Clone)]
struct Owned {
    conversation: String,
    response: String,
    item: String,
    session: String,
    user: String,
}

impl Owned {
    /// `user` is the caller's, or one of whom the caller, a service, has something.
    async fn make(caller: &Caller, user: &str) -> Self {
        let conversation = caller.conversation().await;
        let turn = json!({ "input": "hi", "conversation": conversation });
        let response = caller.post("/v1/responses", &turn).await;
        let items = caller.get(&format!("/v1/conversations/{conversation}/items")).await.json();
        let id = |value: &Value| value["id"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
        let turn = caller.post("/v1/chat", &json!({ "user": user, "query": "hi" })).await.json();
        let session = turn["session"].as_str().unwrap_or_else(|| panic!("{turn}")).to_owned();
        let (response, item) = (id(&response.json()), id(&items["data"][0]));
        Self { conversation, response, item, session, user: user.to_owned() }
    }

    /// Ids of the same form that nobody has.
    fn of_nobody(&self) -> Self {
        let ids = [&self.conversation, &self.response, &self.item, &self.session];
        let [conversation, response, item, session] = ids.map(|id| {
            let random = id.find('_').unwrap() + 15;
            let other = if &id[random..=random] == "0" { "1" } else { "0" };
            format!("{}{other}{}", &id[..random], &id[random + 1..])
        });
        Self { conversation, response, item, session, user: "nobody-at-all".to_owned() }
    }

    fn path(&self, template: &str) -> String {
        let path = template
            .replace("{conversation}", &self.conversation)
            .replace("{response}", &self.response)
            .replace("{item}", &self.item)
            .replace("{session}", &self.session)
            .replace("{user}", &self.user);
        assert!(!path.contains('{'), "what stands for {template} is not known here; whose is it?");
        path
    }

    /// A text without these ids.
    fn masked(&self, text: &str) -> String {
        let ids = [&self.conversation, &self.response, &self.item, &self.session, &self.user];
        ids.iter().fold(text.to_owned(), |text, id| text.replace(id.as_str(), "ID"))
    }
}

struct Principal {
    name: String,
    tenant: &'static str,
    /// None for the tenant's own service.
    user: Option<&'static str>,
    caller: Caller,
}

impl Principal {
    /// Whether what `owner` has is this one's to see.
    fn may_see(&self, owner: &Self) -> bool {
        self.tenant == owner.tenant && (self.user.is_none() || self.user == owner.user)
    }
}

fn principals(server: &Server) -> Vec<Principal> {
    let services = TENANTS.iter().map(|tenant| Principal {
        name: (*tenant).to_owned(),
        tenant,
        user: None,
        caller: Caller::with(server, &key_of(tenant)),
    });
    let users = USERS.iter().map(|user| {
        let wishes = ["token", "--tenant", WITH_USERS, "--user", user, "--secret-environment", SECRET.0];
        let (done, token, error) = run(&[&wishes[..], &ISSUER].concat(), &[SECRET]);
        assert!(done, "{error}");
        let caller = Caller::with(server, token.trim());
        Principal { name: format!("{WITH_USERS}/{user}"), tenant: WITH_USERS, user: Some(user), caller }
    });
    services.chain(users).collect()
}

/// A call of an endpoint with these ids; the body is a good one for each.
async fn call(caller: &Caller, endpoint: &Endpoint, ids: &Owned) -> Answer {
    let path = ids.path(&endpoint.path);
    let request = caller.request(&endpoint.method, &path);
    let last = endpoint.path.rsplit('/').next().unwrap_or_default();
    let body = match (endpoint.method.as_str(), last) {
        ("POST", "items") => json!({ "items": [{ "type": "message", "role": "user", "content": "x" }] }),
        ("POST", "handover") => json!({ "reason": "stolen" }),
        ("POST", _) => json!({ "metadata": { "stolen": "yes" } }),
        _ => return Answer::of(request).await,
    };
    Answer::of(request.json(&body)).await
}

#[tokio::test]
async fn every_id_of_another_caller_is_an_unknown_id() {
    let lines = format!(
        "[[tenant.{WITH_USERS}.issuers]]\nissuer = \"{}\"\naudience = \"{}\"\nsecret = {{ environment = \"{}\" }}",
        ISSUER[1], ISSUER[3], SECRET.0
    );
    let setup = Setup::application().env(SECRET.0, SECRET.1);
    let path = setup.folder().join("tenants.toml");
    let lines = |tenant| if tenant == WITH_USERS { lines.as_str() } else { "" };
    fs::write(&path, tenants_toml(TENANTS.map(|tenant| (tenant, lines(tenant))))).unwrap();
    let server = setup.args(&["--tenants", path.to_str().unwrap()]).start();

    let all = endpoints();
    let with_ids = all.iter().filter(|one| one.path.contains('{') && !one.path.contains("{model}"));
    let with_ids: Vec<&Endpoint> = with_ids.collect();
    assert!(with_ids.len() >= 14, "{all:?}");
    let principals = principals(&server);
    let mut owned = Vec::new();
    for owner in &principals {
        let customer = format!("customer-of-{}", owner.tenant);
        owned.push(Owned::make(&owner.caller, owner.user.unwrap_or(&customer)).await);
    }
    let (mut refused, mut seen) = (0, 0);
    for (owner, ids) in principals.iter().zip(&owned) {
        for other in &principals {
            if other.may_see(owner) {
                check_seen(owner, other, &with_ids, ids).await;
                seen += 1;
                continue;
            }
            for endpoint in &with_ids {
                let what = format!("{} on {} of {}", endpoint.method, endpoint.path, owner.name);
                check_unknown(&what, other, endpoint, ids).await;
                refused += 1;
            }
            check_bodies(&owner.name, other, ids).await;
        }
    }
    // 4 tenants and 2 users: 30 ordered pairs, of which the tenant's service may see its 2 users'.
    assert_eq!((refused, seen), (28 * with_ids.len(), 8));
    // Nothing of all that changed or removed anything; and every call is a good one where it is the owner's.
    for (owner, ids) in principals.iter().zip(&owned) {
        let read = owner.caller.get(&format!("/v1/conversations/{}", ids.conversation)).await;
        assert_eq!(read.json()["metadata"], json!({}), "{}", read.text);
        let items = owner.caller.get(&format!("/v1/conversations/{}/items", ids.conversation)).await;
        assert_eq!(items.json()["data"].as_array().unwrap().len(), 2, "{}", items.text);
    }
    for (owner, ids) in principals.iter().zip(&owned) {
        let (ends, goes_on): (Vec<&Endpoint>, Vec<&Endpoint>) =
            with_ids.iter().partition(|endpoint| endpoint.method == "DELETE");
        // What is deeper goes first.
        let ends = ends.into_iter().rev();
        for endpoint in goes_on.into_iter().chain(ends) {
            let answer = call(&owner.caller, endpoint, ids).await;
            // These responses are not made in the background, and say so to whoever may know of them.
            let expected = if endpoint.path.ends_with("/cancel") { 400 } else { 200 };
            assert_eq!(answer.status, expected, "{}: {endpoint:?}: {answer:?}", owner.name);
        }
    }
}

/// Who may see it gets it from every endpoint that only reads.
async fn check_seen(owner: &Principal, other: &Principal, endpoints: &[&Endpoint], ids: &Owned) {
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.method == "GET") {
        let answer = call(&other.caller, endpoint, ids).await;
        assert_eq!(answer.status, 200, "{} asks for {}'s: {endpoint:?}: {answer:?}", other.name, owner.name);
    }
}

/// Another's id is answered byte for byte as an unknown one.
async fn check_unknown(what: &str, other: &Principal, endpoint: &Endpoint, ids: &Owned) {
    let theirs = call(&other.caller, endpoint, ids).await;
    let nobody = ids.of_nobody();
    let unknown = call(&other.caller, endpoint, &nobody).await;
    let comparable = |answer: &Answer, ids: &Owned| {
        let mut headers: Vec<String> = answer.headers.keys().map(|name| name.to_string()).collect();
        headers.sort();
        (answer.status, ids.masked(&answer.text), headers)
    };
    let (theirs, unknown) = (comparable(&theirs, ids), comparable(&unknown, &nobody));
    assert_eq!(theirs.0, 404, "{what} by {}: {theirs:?}", other.name);
    assert_eq!(theirs, unknown, "{what} by {}", other.name);
}

/// Ids in bodies and queries.
async fn check_bodies(owner: &str, other: &Principal, ids: &Owned) {
    let nobody = ids.of_nobody();
    for field in ["conversation", "previous_response_id"] {
        let id = |ids: &Owned| match field {
            "conversation" => ids.conversation.clone(),
            _ => ids.response.clone(),
        };
        let theirs = other.caller.post("/v1/responses", &json!({ "input": "x", field: id(ids) })).await;
        let unknown = other.caller.post("/v1/responses", &json!({ "input": "x", field: id(&nobody) })).await;
        assert!(theirs.status >= 400, "{field} of {owner} by {}: {theirs:?}", other.name);
        assert_eq!(
            (theirs.status, ids.masked(&theirs.text)),
            (unknown.status, nobody.masked(&unknown.text)),
            "{field} of {owner} by {}",
            other.name
        );
    }
    let own = other.caller.conversation().await;
    let list = |item: &str| format!("/v1/conversations/{own}/items?after={item}");
    let (theirs, unknown) =
        (other.caller.get(&list(&ids.item)).await, other.caller.get(&list(&nobody.item)).await);
    assert_eq!(
        (theirs.status, ids.masked(&theirs.text)),
        (unknown.status, nobody.masked(&unknown.text)),
        "after={}'s item by {}",
        owner,
        other.name
    );
}
