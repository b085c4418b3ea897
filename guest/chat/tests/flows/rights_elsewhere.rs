//! Data rights over what other functions keep: files, vector stores, calls of tools.

use crate::support::{World, id, world};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use waggle_chat::platform::{NeighbourAnswer, NeighbourCall, NeighbourMethod};
use waggle_model::transport::TransportFailure;

/// The lists, and the members of receipts that count what was in them.
const LISTS: [(&str, &str, &str); 3] = [
    ("retrieval", "/v1/files", "files"),
    ("retrieval", "/v1/vector_stores", "vector_stores"),
    ("tools", "/v1/tools/audit", "tool_calls"),
];

/// The functions retrieval and tools, as they keep things of users.
#[derive(Clone, Default)]
pub(crate) struct Elsewhere {
    /// How many of each list there are, by user.
    kept: Rc<RefCell<BTreeMap<String, [usize; 3]>>>,
    /// How a function fails: on its way, or by a status.
    fails: Rc<RefCell<BTreeMap<&'static str, Result<u16, TransportFailure>>>>,
    /// How many things a call erases at most; 0: all.
    erases_max: Rc<Cell<usize>>,
    /// The calls: method and path.
    calls: Rc<RefCell<Vec<(NeighbourMethod, String)>>>,
}

impl Elsewhere {
    pub(crate) fn answer(&self, call: &NeighbourCall<'_>) -> Result<NeighbourAnswer, TransportFailure> {
        assert!(call.body.is_empty(), "{call:?}");
        self.calls.borrow_mut().push((call.method, call.path.to_owned()));
        let status = self.fails.borrow().get(call.function).cloned().unwrap_or(Ok(200))?;
        let body = if status == 200 { self.body(call) } else { json!({"error": {"message": "User 'ada'?"}}) };
        Ok(NeighbourAnswer { status, retry_after: None, body: body.to_string().into_bytes() })
    }

    fn body(&self, call: &NeighbourCall<'_>) -> Value {
        if call.method == NeighbourMethod::Delete {
            let rest = call.path.strip_prefix(&format!("/v1/{}/users/", call.function)).unwrap();
            return self.erase(call.function, rest.strip_suffix("/data").unwrap());
        }
        let (path, query) = call.path.split_once('?').unwrap();
        let list = LISTS.iter().position(|known| (known.0, known.1) == (call.function, path)).unwrap();
        let query: BTreeMap<&str, &str> =
            query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
        assert_eq!(query["order"], "asc");
        let limit: usize = query["limit"].parse().unwrap();
        let first: usize = query.get("after").map_or(0, |after| after.parse::<usize>().unwrap() + 1);
        let count = self.kept.borrow().get(query["user"]).map_or(0, |counts| counts[list]);
        let page: Vec<Value> = (first..count.min(first + limit))
            .map(|number| json!({"id": number.to_string(), "of": query["user"], "text": "a\nb"}))
            .collect();
        json!({"object": "list", "last_id": page.last().map(|last| id(last).to_owned()),
            "has_more": first + limit < count, "data": page})
    }

    fn erase(&self, function: &str, user: &str) -> Value {
        let mut receipt = json!({"object": "user.data.deleted", "user": user, "has_more": false});
        let mut kept = self.kept.borrow_mut();
        let Some(counts) = kept.get_mut(user) else { return receipt };
        let most = if self.erases_max.get() == 0 { usize::MAX } else { self.erases_max.get() };
        for (count, (_, _, member)) in
            counts.iter_mut().zip(LISTS).filter(|(_, (keeper, ..))| *keeper == function)
        {
            let erased = most.min(*count);
            *count -= erased;
            receipt[member] = json!(erased);
            if *count > 0 {
                receipt["has_more"] = json!(true);
            }
        }
        receipt
    }
}

/// A world where a user, and another, have as much of each list.
fn keeping(user: &str, counts: [usize; 3]) -> World {
    let world = world();
    for user in [user, "bob"] {
        world.platform.elsewhere.kept.borrow_mut().insert(user.to_owned(), counts);
    }
    world
}

fn fail(world: &World, function: &'static str, how: Result<u16, TransportFailure>) {
    world.platform.elsewhere.fails.borrow_mut().insert(function, how);
}

fn denied() -> TransportFailure {
    TransportFailure::Denied("no such host".to_owned())
}

fn erase(world: &World, status: u16) -> Value {
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, status)
}

fn counted(receipt: &Value) -> [u64; 3] {
    LISTS.map(|(_, _, member)| receipt[member].as_u64().unwrap())
}

#[test]
fn one_call_erases_what_all_functions_keep() {
    for caller in [None, Some("ada")] {
        let world = keeping("ada", [3, 2, 1]).called_by(caller);
        world.turn(&json!({"input": "x"}), "y");
        let receipt = erase(&world, 200);
        assert_eq!((counted(&receipt), receipt.get("incomplete")), ([3, 2, 1], None));
        assert_eq!(receipt["responses"], u64::from(caller.is_some()));
        assert_eq!(world.platform.elsewhere.kept.borrow()["ada"], [0, 0, 0]);
        assert_eq!(world.platform.elsewhere.kept.borrow()["bob"], [3, 2, 1]);
        let logged = world.platform.lines.borrow().last().unwrap().clone();
        assert!(
            logged.ends_with("files=3 vector_stores=2 tool_calls=1") && !logged.contains("ada"),
            "{logged}"
        );
    }
    keeping("ada", [1, 1, 1]).called_by(Some("eve")).json("DELETE", "/v1/users/ada/data", &Value::Null, 404);
}

#[test]
fn a_function_is_asked_until_it_has_no_more() {
    let world = keeping("ada", [20, 3, 5]);
    world.platform.elsewhere.erases_max.set(1);
    let receipt = erase(&world, 200);
    assert_eq!((counted(&receipt), receipt.get("incomplete")), ([20, 3, 5], None));
    // So often at most; then it is to be asked for again.
    let world = keeping("ada", [21, 0, 0]);
    world.platform.elsewhere.erases_max.set(1);
    let receipt = erase(&world, 200);
    assert_eq!((counted(&receipt), &receipt["incomplete"]), ([20, 0, 0], &json!(["retrieval"])));
    assert_eq!(counted(&erase(&world, 200)), [1, 0, 0]);
}

#[test]
fn a_function_that_fails_keeps_no_other_from_erasing_and_is_named() {
    for how in [Ok(503), Ok(404), Err(TransportFailure::TimedOut("x".to_owned())), Err(denied())] {
        let world = keeping("ada", [3, 2, 1]);
        world.called_by(Some("ada")).turn(&json!({"input": "x"}), "y");
        fail(&world, "retrieval", how.clone());
        let receipt = erase(&world, 200);
        assert_eq!((counted(&receipt), &receipt["responses"]), ([0, 0, 1], &json!(1)), "{how:?}");
        assert_eq!(receipt["incomplete"], json!(["retrieval"]), "{how:?}");
        let lines = world.platform.lines.borrow().join("\n");
        assert!(lines.contains("incomplete=retrieval") && !lines.contains("ada"), "{lines}");
        // Once it is back, the same request finishes what is missing.
        world.platform.elsewhere.fails.borrow_mut().clear();
        let receipt = erase(&world, 200);
        assert_eq!((counted(&receipt), receipt.get("incomplete")), ([3, 2, 0], None), "{how:?}");
    }
}

#[test]
fn whose_conversations_cannot_be_erased_is_told_so_before_anything_else() {
    let world = keeping("ada", [1, 1, 1]);
    world.called_by(Some("ada")).turn(&json!({"input": "x"}), "y");
    world.store.fail(Some("delete_many"));
    erase(&world, 500);
    assert_eq!(world.platform.elsewhere.kept.borrow()["ada"], [1, 1, 1]);
    world.store.fail(None);
    assert_eq!(counted(&erase(&world, 200)), [1, 1, 1]);
}

#[test]
fn a_user_is_unknown_where_no_function_has_anything() {
    let world = world();
    erase(&world, 404);
    world.json("POST", "/v1/users/ada/export", &Value::Null, 404);
    // A function that is not there can have nothing; one that fails may have.
    fail(&world, "retrieval", Err(denied()));
    erase(&world, 404);
    world.json("POST", "/v1/users/ada/export", &Value::Null, 404);
    fail(&world, "tools", Ok(500));
    assert_eq!(erase(&world, 200)["incomplete"], json!(["retrieval", "tools"]));
    let lines = world.lines("POST", "/v1/users/ada/export");
    assert_eq!((lines.len(), &lines[0]["incomplete"]), (1, &json!(["retrieval", "tools"])));
}

#[test]
fn an_export_has_what_all_functions_keep_page_by_page() {
    for caller in [None, Some("ada")] {
        let world = keeping("ada", [250, 100, 101]).called_by(caller);
        let lines = world.lines("POST", "/v1/users/ada/export");
        let (receipt, rest) = lines.split_last().unwrap();
        assert_eq!((&receipt["type"], receipt.get("incomplete")), (&json!("receipt"), None));
        assert_eq!(counted(receipt), [250, 100, 101]);
        let of = |kind: &str| rest.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
        let (files, stores, calls) = (of("file"), of("vector_store"), of("tool_call"));
        assert_eq!([files.len(), stores.len(), calls.len()], [250, 100, 101]);
        let ids: Vec<&str> = files.iter().map(|line| id(&line["file"])).collect();
        let expected: Vec<String> = (0..250).map(|number| number.to_string()).collect();
        assert_eq!(ids, expected);
        assert_eq!(files[7]["content"], "/v1/files/7/content");
        assert_eq!((&stores[0]["vector_store"]["of"], id(&calls[100]["tool_call"])), (&json!("ada"), "100"));
        // One look at whether there is anything, then three pages of files, one of vector stores, two of calls.
        assert_eq!(world.platform.elsewhere.calls.borrow().len(), 1 + 3 + 1 + 2);
    }
}

#[test]
fn an_export_names_who_did_not_answer() {
    let world = keeping("ada", [1, 1, 1]);
    world.called_by(Some("ada")).turn(&json!({"input": "x"}), "y");
    fail(&world, "retrieval", Err(TransportFailure::Cut("x".to_owned())));
    let lines = world.lines("POST", "/v1/users/ada/export");
    let kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["response", "tool_call", "receipt"]);
    assert_eq!((counted(&lines[2]), &lines[2]["incomplete"]), ([0, 0, 1], &json!(["retrieval"])));
}

#[test]
fn a_name_is_encoded_on_its_way() {
    let world = keeping("a%40b%2Fc", [1, 1, 1]);
    let receipt = world.json("DELETE", "/v1/users/a@b%2fc/data", &Value::Null, 200);
    assert_eq!((&receipt["user"], counted(&receipt)), (&json!("a@b/c"), [1, 1, 1]));
}
