//! What becomes of a model's failure: a text in its place, or an error, for both APIs, streamed or not.

use crate::support::{
    Client, Piece, Script, World, answers, bytes, delta, id, read_events, says, streams, text, world,
};
use serde_json::{Value, json};
use waggle_chat::Reply;
use waggle_model::transport::TransportFailure;

const BUSY: &str = "We are busy, please try again later";
const BUSY_CHINESE: &str = "系统繁忙,请稍后再试";

fn failing_body(failure: TransportFailure) -> Script {
    let body = vec![bytes("{\"choices\":[{\"mess"), Piece::Fails(failure)];
    Script::Answers { status: 200, content_type: "application/json", retry_after: None, body }
}

/// A failure before the first token: its name, what the model does, the status and code of the error it is otherwise,
/// and whether it can happen to a request that is streamed, or to one that is not.
struct Failure {
    name: &'static str,
    script: Script,
    status: u16,
    code: &'static str,
    streamed: &'static [bool],
}

const BOTH: &[bool] = &[false, true];

fn failures() -> Vec<Failure> {
    let at = || "model.test with secret".to_owned();
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let fails = |name, failure, status, code| Failure {
        name,
        script: Script::Fails(failure),
        status,
        code,
        streamed: BOTH,
    };
    let status = |name, status, told, code| Failure {
        name,
        script: answers(status, "application/json", r#"{"error":{"message":"secret"}}"#),
        status: told,
        code,
        streamed: BOTH,
    };
    let error = "model_endpoint_error";
    let stream = |name, pieces: Vec<Piece>| Failure {
        name,
        script: streams(pieces),
        status: 502,
        code: error,
        streamed: &[true],
    };
    let cut = || Piece::Fails(TransportFailure::Cut("secret".into()));
    vec![
        fails("refused", TransportFailure::Unreachable(at()), 502, "model_endpoint_unreachable"),
        fails("timed out", TransportFailure::TimedOut(at()), 504, "model_endpoint_timeout"),
        fails("denied", TransportFailure::Denied(at()), 502, "model_endpoint_denied"),
        fails("held back", TransportFailure::Busy(at()), 503, "model_endpoint_overloaded"),
        fails("reset", TransportFailure::Cut(at()), 502, error),
        status("429", 429, 429, "rate_limit_exceeded"),
        status("500", 500, 502, error),
        status("502", 502, 502, error),
        status("503", 503, 503, "model_endpoint_overloaded"),
        status("504", 504, 504, "model_endpoint_timeout"),
        status("the key is refused", 401, 502, "model_endpoint_unauthorized"),
        Failure {
            name: "HTML",
            script: answers(200, "text/html", "<html>secret"),
            status: 502,
            code: error,
            streamed: BOTH,
        },
        Failure {
            name: "cut",
            script: failing_body(TransportFailure::Cut(at())),
            status: 502,
            code: error,
            streamed: &[false],
        },
        stream("no event", vec![]),
        stream("cut in an event", vec![bytes("data: {\"choi"), cut()]),
        stream("cut after the role", vec![bytes(role), cut()]),
        stream("ended after the role", vec![bytes(&format!(": ping\n\ndata:\n\n{role}"))]),
        stream("an error at once", vec![bytes("data: {\"error\":{\"message\":\"secret\"}}\n\n")]),
        stream("an error after the role", vec![bytes(role), bytes("data: {\"error\":\"secret\"}\n\n")]),
        stream("no JSON", vec![bytes("data: <html>secret\n\n")]),
        Failure {
            code: "model_endpoint_timeout",
            ..stream("stalled", vec![bytes(role), Piece::Fails(TransportFailure::TimedOut("secret".into()))])
        },
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Api {
    Responses,
    ChatCompletions,
}

fn request(api: Api, stream: bool) -> (&'static str, Value) {
    let messages = json!([{"role": "user", "content": "x"}]);
    match api {
        Api::Responses => ("/v1/responses", json!({"input": "x", "stream": stream})),
        Api::ChatCompletions => ("/v1/chat/completions", json!({"messages": messages, "stream": stream})),
    }
}

/// The reply to one failure, and its name in a message.
fn fail(failure: &Failure, api: Api, stream: bool, mode: &str) -> (World, Reply, String) {
    let world = world();
    world.set("fallback", mode);
    world.script(failure.script.clone());
    let (path, body) = request(api, stream);
    let reply = world.exchange(path, &body, None);
    let name = format!("{} {api:?} stream={stream} {mode}", failure.name);
    let seen = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(!seen.contains("secret") && !seen.contains("model.test"), "{name}: {seen}");
    assert_eq!(world.platform.lines.borrow().len(), 1, "{name}: one line for the operator");
    (world, reply, name)
}

fn header<'r>(reply: &'r Reply, name: &str) -> Option<&'r str> {
    reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// The chunks of a streamed chat completion, which must end as one does.
fn chunks(reply: &Reply) -> Vec<Value> {
    let body = String::from_utf8(reply.body.clone()).unwrap();
    let events = body.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {body}"));
    let data = events.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// What a reply says, and its metadata.
fn said(api: Api, stream: bool, reply: &Reply) -> (String, Value) {
    let body = String::from_utf8(reply.body.clone()).unwrap();
    match (api, stream) {
        (Api::Responses, false) => {
            let response: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(response["status"], "completed");
            assert_eq!(response["error"], Value::Null);
            (text(&response).to_owned(), response["metadata"].clone())
        }
        (Api::Responses, true) => {
            let events = read_events(&body);
            for (number, (kind, data)) in events.iter().enumerate() {
                assert_eq!((&data["type"], &data["sequence_number"]), (&json!(kind), &json!(number)));
            }
            let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
            let expected = [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ];
            assert_eq!(kinds, expected);
            let response = &events.last().unwrap().1["response"];
            assert_eq!(response["output"][0], events[7].1["item"]);
            (text(response).to_owned(), response["metadata"].clone())
        }
        (Api::ChatCompletions, false) => {
            let completion: Value = serde_json::from_str(&body).unwrap();
            let choice = &completion["choices"][0];
            assert_eq!(
                (&completion["object"], &choice["finish_reason"]),
                (&json!("chat.completion"), &json!("stop"))
            );
            assert_eq!(
                (&choice["message"]["role"], &completion["model"]),
                (&json!("assistant"), &json!("sim"))
            );
            (choice["message"]["content"].as_str().unwrap().to_owned(), completion["waggle_metadata"].clone())
        }
        (Api::ChatCompletions, true) => {
            let chunks = chunks(reply);
            let own: Vec<&Value> =
                chunks.iter().filter(|chunk| chunk["waggle_metadata"].is_object()).collect();
            assert_eq!(own.len(), 2, "{chunks:?}");
            assert_eq!(own[0]["id"], own[1]["id"]);
            assert_eq!(own[1]["choices"][0]["finish_reason"], "stop");
            (
                own[0]["choices"][0]["delta"]["content"].as_str().unwrap().to_owned(),
                own[0]["waggle_metadata"].clone(),
            )
        }
    }
}

#[test]
fn every_failure_before_the_first_token_becomes_the_text() {
    for failure in failures() {
        for (api, stream) in pairs(&failure) {
            let (_, reply, name) = fail(&failure, api, stream, "text");
            assert_eq!(reply.status, 200, "{name}");
            let (said, metadata) = said(api, stream, &reply);
            assert_eq!(said, BUSY, "{name}");
            assert_eq!(
                metadata,
                json!({"waggle_fallback": "true", "waggle_fallback_reason": failure.code}),
                "{name}"
            );
            // Once a stream has begun, its head has gone.
            let head_gone = failure.streamed == [true];
            assert_eq!(header(&reply, "x-waggle-fallback"), (!head_gone).then_some(failure.code), "{name}");
            let kind = header(&reply, "content-type").unwrap();
            assert_eq!(kind.starts_with("text/event-stream"), stream, "{name}");
        }
    }
}

fn pairs(failure: &Failure) -> Vec<(Api, bool)> {
    let of = |api| failure.streamed.iter().map(move |stream| (api, *stream));
    of(Api::Responses).chain(of(Api::ChatCompletions)).collect()
}

#[test]
fn every_failure_is_an_error_where_the_tenant_chose_that() {
    for failure in failures() {
        for (api, stream) in pairs(&failure) {
            let (_, reply, name) = fail(&failure, api, stream, "error");
            assert_eq!(header(&reply, "x-waggle-fallback"), None, "{name}");
            if failure.streamed == [true] {
                check_error_event(api, &reply, failure.code, &name);
                continue;
            }
            let error: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                (reply.status, &error["error"]["code"]),
                (failure.status, &json!(failure.code)),
                "{name}"
            );
            let wait = matches!(reply.status, 429 | 503 | 504).then_some("1");
            assert_eq!(header(&reply, "retry-after"), wait, "{name}");
        }
    }
}

fn check_error_event(api: Api, reply: &Reply, code: &str, name: &str) {
    let body = String::from_utf8(reply.body.clone()).unwrap();
    match api {
        Api::Responses => {
            let (kind, data) = read_events(&body).pop().unwrap();
            assert_eq!(
                (kind.as_str(), &data["response"]["status"]),
                ("response.failed", &json!("failed")),
                "{name}"
            );
        }
        Api::ChatCompletions => {
            let last = body.trim_end().rsplit("\n\n").next().unwrap().strip_prefix("data: ").unwrap();
            let error: Value = serde_json::from_str(last).unwrap();
            assert_eq!(error["error"]["code"], code, "{name}");
        }
    }
}

#[test]
fn a_complaint_about_the_request_is_never_replaced() {
    for (status, told, code) in [
        (400, 400, "rejected_by_model"),
        (413, 400, "rejected_by_model"),
        (422, 400, "rejected_by_model"),
        (404, 404, "model_not_found"),
    ] {
        for api in [Api::Responses, Api::ChatCompletions] {
            for stream in [false, true] {
                let world = world();
                world.set("fallback", "text");
                world.script(answers(status, "application/json", "{}"));
                let (path, body) = request(api, stream);
                let error = world.json("POST", path, &body, told);
                assert_eq!(error["error"]["code"], code, "{status} {api:?}");
            }
        }
    }
}

#[test]
fn a_program_that_waits_for_json_reads_the_error() {
    let schema = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}});
    for (path, body) in [
        ("/v1/responses", json!({"input": "x", "text": {"format": schema}})),
        ("/v1/responses", json!({"input": "x", "text": {"format": {"type": "json_object"}}})),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_object"}}),
        ),
    ] {
        let world = world();
        world.set("fallback", "text");
        world.script(answers(503, "text/plain", "busy"));
        world.json("POST", path, &body, 503);
    }
}

#[test]
fn a_call_that_the_host_ended_has_nobody_to_answer() {
    let world = world();
    world.set("fallback", "text");
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let before = world.joined();
    world.script(Script::Fails(TransportFailure::Ended("the client has gone".into())));
    world.json("POST", "/v1/responses", &json!({"input": "x", "conversation": id(&conversation)}), 502);
    assert_eq!(world.joined(), before, "the conversation is as it was");
}

#[test]
fn what_cannot_be_stored_is_no_fallback() {
    for stream in [false, true] {
        let world = world();
        world.set("fallback", "text");
        world.store.fail(Some("set_many"));
        world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
        let reply = world.exchange("/v1/responses", &json!({"input": "x", "stream": stream}), None);
        assert_eq!(reply.status, 500, "stream={stream}");
        world.script(says("an answer"));
        world.json("POST", "/v1/responses", &json!({"input": "x"}), 500);
    }
}

#[test]
fn a_stream_that_has_said_something_ends_as_an_error() {
    for (api, last) in [(Api::Responses, "response.failed"), (Api::ChatCompletions, "model_endpoint_error")] {
        let world = world();
        world.set("fallback", "text");
        world.script(streams(vec![
            bytes(&delta("par")),
            Piece::Fails(TransportFailure::Cut("secret".into())),
        ]));
        let (path, body) = request(api, true);
        let reply = world.exchange(path, &body, None);
        let body = String::from_utf8(reply.body).unwrap();
        assert!(body.contains("par") && body.contains(last) && !body.contains(BUSY), "{body}");
    }
    let reasons = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    let world = world();
    world.set("fallback", "text");
    world.script(streams(vec![bytes(reasons), Piece::Fails(TransportFailure::Cut("x".into()))]));
    let (path, body) = request(Api::ChatCompletions, true);
    let body = String::from_utf8(world.exchange(path, &body, None).body).unwrap();
    assert!(body.contains("hm") && body.contains("model_endpoint_error"), "{body}");
}

#[test]
fn a_stream_that_breaks_in_an_event_hands_on_no_half_of_it() {
    let world = world();
    world.set("fallback", "text");
    let role = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    world.script(streams(vec![
        bytes(role),
        bytes("data: {\"choi"),
        Piece::Fails(TransportFailure::Cut("x".into())),
    ]));
    let client = Client::default();
    let (path, body) = request(Api::ChatCompletions, true);
    world.stream(path, &body, &client);
    let writes = client.writes.borrow().clone();
    assert_eq!((writes.len(), writes[0].as_str()), (2, role), "the role is handed on at once: {writes:?}");
    assert!(!writes[1].contains("{\"choi\n"), "{writes:?}");
}

fn check_text(variables: &[(&'static str, &str)], accept_language: Option<&str>, expected: &str) {
    for (api, stream) in
        [Api::Responses, Api::ChatCompletions].into_iter().flat_map(|api| [(api, false), (api, true)])
    {
        let world = World::default();
        world.set("model_origin", "http://model.test");
        world.set("model", "sim");
        for (name, value) in variables {
            world.set(name, value);
        }
        world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
        let (path, body) = request(api, stream);
        let reply = world.exchange(path, &body, accept_language);
        assert_eq!(said(api, stream, &reply).0, expected, "{variables:?} {accept_language:?} {api:?}");
    }
}

#[test]
fn the_text_is_the_tenants_or_in_the_callers_language() {
    check_text(&[], None, BUSY);
    check_text(&[("fallback", "")], Some("de"), BUSY);
    check_text(&[], Some("zh-CN,zh;q=0.9,en;q=0.8"), BUSY_CHINESE);
    check_text(&[("fallback", "text"), ("fallback_text", "")], Some("en;q=0.5,zh;q=0.6"), BUSY_CHINESE);
    check_text(&[("fallback_text", " Bitte \"später\".\n ")], Some("zh"), "Bitte \"später\".");
}

#[test]
fn a_variable_that_is_wrong_is_told_and_the_caller_reads_the_models_error() {
    let world = world();
    world.set("fallback", "txt");
    world.script(answers(503, "text/plain", "busy"));
    world.json("POST", "/v1/responses", &json!({"input": "x"}), 503);
    let lines = world.platform.lines.borrow().concat();
    assert!(lines.contains("'fallback' must be 'text' or 'error', not 'txt'"), "{lines}");
    world.set("fallback", "text");
    for name in ["fallback", "fallback_text"] {
        world.platform.unreadable.set(Some(name));
        world.script(answers(503, "text/plain", "busy"));
        world.json("POST", "/v1/responses", &json!({"input": "x"}), 503);
        let line = world.platform.lines.borrow().iter().rev().nth(1).unwrap().clone();
        assert!(line.contains(name) && line.contains("secret detail"), "{line}");
    }
}

#[test]
fn a_fallback_is_kept_and_no_model_sees_it() {
    for stream in [false, true] {
        let world = world();
        world.set("fallback", "text");
        let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
        let conversation = id(&conversation);
        world.turn(&json!({"input": "1", "conversation": conversation}), "one");
        world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
        let body =
            json!({"input": "2", "conversation": conversation, "stream": stream, "metadata": {"k": "v"}});
        world.exchange("/v1/responses", &body, None);

        let path = format!("/v1/conversations/{conversation}/items");
        let items = world.json("GET", &path, &Value::Null, 200);
        let newest = &items["data"][0];
        assert_eq!((&newest["role"], &newest["waggle_fallback"]), (&json!("assistant"), &json!(true)));
        assert_eq!((&newest["content"][0]["text"], &newest["status"]), (&json!(BUSY), &json!("completed")));
        let response = stored(&world);
        assert_eq!(response["metadata"]["k"], "v");
        assert_eq!(response["metadata"]["waggle_fallback"], "true");
        assert_eq!((&response["output"][0], &response["usage"]["total_tokens"]), (newest, &json!(0)));

        world.turn(&json!({"input": "3", "conversation": conversation}), "three");
        assert_eq!(world.last_messages(), ["1", "one", "2", "3"], "stream={stream}");
        world.turn(&json!({"input": "3", "previous_response_id": id(&response)}), "three");
        assert_eq!(world.last_messages(), ["1", "one", "2", "3"], "in a chain, stream={stream}");
        // A client that keeps the history itself sends it back as it got it.
        world.turn(
            &json!({"input": [{"role": "user", "content": "2"}, newest, {"role": "user", "content": "4"}]}),
            "ok",
        );
        assert_eq!(world.last_messages(), ["2", "4"]);
    }
}

/// The newest response that is a fallback.
fn stored(world: &World) -> Value {
    let dump = world.store.dump();
    let records = dump.iter().filter(|(key, _)| key.starts_with("response/"));
    let responses =
        records.map(|(_, value)| serde_json::from_slice::<Value>(value).unwrap()["response"].clone());
    let mut fallbacks = responses.filter(|response| response["metadata"]["waggle_fallback"] == "true");
    fallbacks.next_back().expect("a fallback")
}

#[test]
fn sixteen_pairs_of_the_clients_fit_beside_ours_and_cannot_be_taken_for_them() {
    let world = world();
    world.set("fallback", "text");
    let pairs: serde_json::Map<String, Value> =
        (0..16).map(|index| (format!("k{index}"), json!("v"))).collect();
    world.script(answers(503, "application/json", r#"{"error":{"message":"x","code":"upstream_open"}}"#));
    let response = world.json("POST", "/v1/responses", &json!({"input": "x", "metadata": pairs}), 200);
    let metadata = response["metadata"].as_object().unwrap();
    assert_eq!(metadata.len(), 18);
    assert_eq!(metadata["waggle_fallback_reason"], "upstream_open");
    let forged = json!({"waggle_fallback": "true", "k": "v"});
    let response = world.turn(&json!({"input": "x", "metadata": forged}), "an answer");
    assert_eq!(response["metadata"], json!({"k": "v"}));
}

#[test]
fn a_wait_that_the_endpoint_asks_for_goes_before_ours() {
    for (status, told) in [(429, 429), (503, 503), (504, 504)] {
        for (asked, expected) in [(Some("12"), "12"), (None, "1"), (Some("soon"), "1")] {
            let world = world();
            world.script(Script::Answers {
                status,
                content_type: "text/plain",
                retry_after: asked,
                body: vec![],
            });
            let reply = world.send("POST", "/v1/responses", r#"{"input":"x"}"#);
            assert_eq!((reply.status, header(&reply, "retry-after")), (told, Some(expected)), "{asked:?}");
        }
    }
}
