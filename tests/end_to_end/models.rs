//! Calls to models through the whole program: where they go by the model's name, what is tried again, what a client reads
//! when nothing answers, and what is not asked for at all.

use crate::support::{Server, Setup, client, get, post};
use crate::tenants_support::{Admin, Caller, Model, key_in, tenant};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// No wait to speak of between attempts, and a breaker that stays out of the way.
const PATIENT: &str = "backoff_ms = 1\nbackoff_ms_max = 1_500\nretries_per_second_min = 10_000\n\
                       [upstream.NAME.breaker]\nfailures = 1_000\nfailures_per_100_calls = 100\n";

/// An upstream of this name and address, with lines of its own.
fn upstream(name: &str, url: &str, lines: &str) -> String {
    format!("[upstream.{name}]\nurl = \"{url}/v1\"\n{lines}\n{}", PATIENT.replace("NAME", name))
}

/// The address of nobody.
fn nowhere() -> String {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", closed.local_addr().unwrap())
}

async fn turn(server: &Server, body: Value) -> (u16, Value) {
    post(&client(), &server.url("/v1/responses"), &body).await
}

fn text_of(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}"))
}

#[tokio::test]
async fn a_model_is_called_by_its_name_at_its_upstream_and_fails_over() {
    let (large, small) = (Model::start().await, Model::start().await);
    let config = [
        upstream("first", &large.0.url(), ""),
        upstream("second", &small.0.url(), ""),
        upstream("gone", &nowhere(), ""),
        "[model.large]\nupstream = \"first\"\nmodel = \"sim-70b\"\n".to_owned(),
        "[model.small]\nupstream = \"second\"\n".to_owned(),
        "[model.broken]\nupstream = \"gone\"\nfailover = [\"small\"]\n".to_owned(),
        "[model.\"gpt-*\"]\nupstreams = [\"gone\", \"first\"]\n".to_owned(),
    ];
    let server = Setup::application().runtime_config(&config.join("")).start();
    let ask = async |model: &str| turn(&server, json!({ "input": "hi", "model": model })).await;
    let check = async |model: &str, answered: &str, upstream: &Model, its_name: &str| {
        let (status, response) = ask(model).await;
        assert_eq!((status, &response["model"]), (200, &json!(answered)), "{model}: {response}");
        assert_eq!(upstream.last()["model"], its_name, "{model}");
    };
    check("large", "large", &large, "sim-70b").await;
    check("small", "small", &small, "small").await;
    check("broken", "small", &small, "small").await;
    check("gpt-4.1", "gpt-4.1", &large, "gpt-4.1").await;
    let (status, error) = ask("other").await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")), "{error}");

    let (status, list) = get(&client(), &server.url("/v1/models")).await;
    let names: Vec<&str> =
        list["data"].as_array().unwrap().iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(status, 200, "{list}");
    for name in ["large", "small", "broken", "auto"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    // A simple question goes to the small tier, one that asks for work to the large.
    let (_, simple) = turn(&server, json!({ "input": "Hello!", "model": "auto" })).await;
    assert_eq!(
        (&simple["model"], &simple["metadata"]["waggle_tier"]),
        (&json!("small"), &json!("small")),
        "{simple}"
    );
    let work = "Please analyse and compare both contracts step by step.";
    let (_, hard) = turn(&server, json!({ "input": work, "model": "auto" })).await;
    assert_eq!(
        (&hard["model"], &hard["metadata"]["waggle_tier"]),
        (&json!("large"), &json!("large")),
        "{hard}"
    );
    assert!(hard["metadata"]["waggle_tier_reason"].is_string(), "{hard}");
}

/// What one fault of a model comes to.
struct Case {
    directive: &'static str,
    stream: bool,
    attempts: usize,
    /// The reason of the fallback, or none where the client reads an error of this status.
    outcome: Result<&'static str, u16>,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_model_is_tried_again_where_that_is_safe_and_ends_in_an_answer() {
    let failed = |directive, reason| {
        [false, true].map(|stream| Case { directive, stream, attempts: 3, outcome: Ok(reason) })
    };
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(failed("status=500", "upstream_unavailable"));
    cases.extend(failed("status=503", "upstream_unavailable"));
    cases.extend(failed("status=429 retry_after=1", "rate_limit_exceeded"));
    cases.extend(failed("fault=html", "upstream_unavailable"));
    cases.extend(failed("fault=bad-gzip", "upstream_unavailable"));
    cases.extend(failed("fault=reset", "upstream_unavailable"));
    cases.extend(failed("fault=hang", "upstream_timeout"));
    cases.extend(failed("headers_ms=20000", "upstream_timeout"));
    cases.push(Case {
        directive: "first_token_ms=20000",
        stream: true,
        attempts: 3,
        outcome: Ok("upstream_timeout"),
    });
    // A complaint about the request is the caller's to read; a wrong key does not become right by asking again.
    cases.push(Case { directive: "status=400", stream: false, attempts: 1, outcome: Err(400) });
    cases.push(Case {
        directive: "status=401",
        stream: false,
        attempts: 1,
        outcome: Ok("model_endpoint_unauthorized"),
    });
    let model = Model::start().await;
    let limits = "first_byte_timeout_ms = 300\nanswer_timeout_ms = 300\n";
    let config = upstream("sim", &model.0.url(), limits) + "[model.\"*\"]\nupstream = \"sim\"\n";
    let server = Setup::application().runtime_config(&config).start();
    for Case { directive, stream, attempts, outcome } in cases {
        // Where nothing but failures comes, the breaker opens whatever its bounds.
        assert_eq!(turn(&server, json!({ "input": "hi" })).await.0, 200);
        let before = model.0.handle().requests().len();
        let began = Instant::now();
        let body = json!({ "input": format!("[sim: {directive}] hi"), "stream": stream });
        let response = client()
            .post(server.url("/v1/responses"))
            .header("accept-language", "zh-CN,zh;q=0.9,en;q=0.5")
            .json(&body)
            .send()
            .await
            .unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        let case = format!("{directive}, streamed: {stream}");
        let made = model.0.handle().requests().len() - before;
        eprintln!("{case}: {status} after {made} attempts, {} ms", began.elapsed().as_millis());
        assert_eq!(made, attempts, "{case}: {text}");
        match outcome {
            Err(expected) => assert_eq!(status, expected, "{case}: {text}"),
            Ok(reason) => {
                assert_eq!(status, 200, "{case}: {text}");
                let response: Value = if stream {
                    let turn = text.strip_suffix("data: [DONE]\n\n").unwrap();
                    let last = turn.trim_end().rsplit("data: ").next().unwrap();
                    serde_json::from_str::<Value>(last).unwrap()["response"].take()
                } else {
                    serde_json::from_str(&text).unwrap()
                };
                assert_eq!(text_of(&response), "系统繁忙,请稍后再试", "{case}");
                assert_eq!(response["metadata"]["waggle_fallback_reason"], reason, "{case}: {response}");
            }
        }
    }
}

/// What a client reads of a turn: its status, and how its response ended, if it has one.
async fn outcome(server: &Server, directive: &str, stream: bool) -> (u16, String, String) {
    let body = json!({ "input": format!("[sim: {directive}] hi"), "stream": stream });
    let response = client().post(server.url("/v1/responses")).json(&body).send().await.unwrap();
    let status = response.status().as_u16();
    let text =
        response.text().await.unwrap_or_else(|error| panic!("{directive}: {error:?}\n{}", server.output()));
    let turn = text.strip_suffix("data: [DONE]\n\n").unwrap_or(&text);
    let last = turn.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{directive}: {text}"));
    let response = if stream && last["response"].is_object() { &last["response"] } else { &last };
    let ended =
        response["status"].as_str().or_else(|| response["error"]["code"].as_str()).unwrap_or_default();
    let reason = response["metadata"]["waggle_fallback_reason"].as_str();
    let reason = reason.or_else(|| response["error"]["code"].as_str()).unwrap_or_default();
    (status, ended.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_after_its_beginning_is_never_asked_for_again() {
    let model = Model::start().await;
    let limits = "first_byte_timeout_ms = 5000\nanswer_timeout_ms = 5000\nbetween_bytes_timeout_ms = 500\n";
    let config = upstream("sim", &model.0.url(), limits) + "[model.\"*\"]\nupstream = \"sim\"\n";
    let server = Setup::application().runtime_config(&config).start();
    let check = async |directive: &str, stream: bool, expected: (u16, &str, &str)| {
        let before = model.0.handle().requests().len();
        let began = Instant::now();
        let (status, ended, reason) = outcome(&server, directive, stream).await;
        let made = model.0.handle().requests().len() - before;
        let case = format!("{directive}, streamed: {stream}, {} ms", began.elapsed().as_millis());
        eprintln!("{case}: {status} {ended} {reason}");
        assert_eq!((status, &*ended, &*reason, made), (expected.0, expected.1, expected.2, 1), "{case}");
    };
    // What was begun as a stream ends as one: with an event that says it failed.
    for fault in ["cut", "cut-mid-event", "reset", "hang", "bad-json"] {
        check(&format!("fault={fault} after=3"), true, (200, "failed", "server_error")).await;
    }
    // Of an answer that is not streamed the client has seen nothing, and reads the fallback.
    for fault in ["cut after=3", "bad-json"] {
        check(&format!("fault={fault}"), false, (200, "completed", "model_endpoint_error")).await;
    }
    check("fault=refuse-body", false, (400, "rejected_by_model", "rejected_by_model")).await;
    check("fault=slow-headers drip_ms=1", false, (200, "completed", "")).await;
    check("tokens=20 tps=200", true, (200, "completed", "")).await;
    // An answer without end is cut where it is too long, or the function's CPU time is used up before that; either way
    // the next turn is answered.
    for stream in [false, true] {
        let body = json!({ "input": "[sim: fault=endless] hi", "stream": stream });
        let sent = client().post(server.url("/v1/responses")).json(&body).send().await.unwrap();
        let _cut_or_not = sent.text().await;
        assert_eq!(turn(&server, json!({ "input": "hi" })).await.0, 200);
    }
}

/// How many of 60 turns got the model's own answer when this share of attempts fails.
async fn answered(error_rate: f64) -> usize {
    let model = Model::start().await;
    let config = upstream("sim", &model.0.url(), "attempts_max = 4\nretries_per_100_calls = 100\n")
        + "[model.\"*\"]\nupstream = \"sim\"\n";
    let server = Setup::application().runtime_config(&config).start();
    let mut answered = 0;
    for number in 0..60 {
        let directive = format!("status=500 error_rate={error_rate} seed={number}");
        let (status, ended, reason) = outcome(&server, &directive, number % 2 == 0).await;
        assert_eq!((status, &*ended), (200, "completed"), "a fallback at least: {number}");
        answered += usize::from(reason.is_empty());
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_now_and_then_is_asked_again_and_answers() {
    // Four attempts fail with 0.1^4 and 0.5^4: of 60 turns, none and four.
    assert!(answered(0.1).await >= 58);
    assert!(answered(0.5).await >= 45);
}

#[tokio::test]
async fn a_model_whose_certificate_nobody_vouches_for_is_sent_nothing() {
    let identity = model_sim::TlsIdentity::self_signed().unwrap();
    let config = model_sim::SimConfig { recorded_requests_max: 10, ..model_sim::SimConfig::default() };
    let model = model_sim::start_tls(config, identity.clone()).await.unwrap();
    let here = "[model.\"*\"]\nupstream = \"sim\"\n";
    let server = Setup::application().runtime_config(&(upstream("sim", &model.url(), "") + here)).start();
    let (status, ended, reason) = outcome(&server, "tokens=1", false).await;
    assert_eq!((status, &*ended, &*reason), (200, "completed", "upstream_unavailable"));
    assert!(model.handle().requests().is_empty(), "neither the question nor a key went there");

    let setup = Setup::application();
    let roots = setup.folder().join("roots.pem");
    std::fs::write(&roots, identity.certificate_pem()).unwrap();
    let lines = format!("roots_file = {:?}\n", roots.to_str().unwrap());
    let server = setup.runtime_config(&(upstream("sim", &model.url(), &lines) + here)).start();
    let (status, ended, reason) = outcome(&server, "tokens=1", false).await;
    assert_eq!((status, &*ended, &*reason), (200, "completed", ""));
}

#[tokio::test]
async fn a_model_that_keeps_failing_is_left_alone_until_it_may_have_recovered() {
    let model = Model::start().await;
    let config = format!(
        "[upstream.sim]\nurl = \"{}/v1\"\nattempts_max = 1\n[upstream.sim.breaker]\nfailures = 3\nopen_ms = 700\n\
         [model.\"*\"]\nupstream = \"sim\"\n",
        model.0.url()
    );
    let server = Setup::application().runtime_config(&config).args(&["--variable", "fallback=error"]).start();
    let ask = async |text: &str| turn(&server, json!({ "input": text })).await.0;
    for _ in 0..3 {
        assert_eq!(ask("[sim: status=500] hi").await, 503);
    }
    let asked = model.0.handle().requests().len();
    for _ in 0..20 {
        assert_eq!(ask("hi").await, 503, "it is open");
    }
    assert_eq!(model.0.handle().requests().len(), asked, "nobody is asked while it is open");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(ask("hi").await, 200, "a probe closes it");
    assert_eq!(ask("hi").await, 200);
}

#[tokio::test]
async fn the_endpoint_of_the_command_line_is_called_as_configured() {
    let model = Model::start().await;
    let config = "[model_endpoint]\nattempts_max = 2\nbackoff_ms = 1\n";
    let server = model.serve(Setup::application().runtime_config(config)).start();
    let (status, _, reason) = outcome(&server, "status=500", false).await;
    assert_eq!((status, &*reason, model.0.handle().requests().len()), (200, "upstream_unavailable", 2));
}

#[tokio::test]
async fn a_budget_is_used_up_by_calls_and_stays_so_over_a_restart() {
    let config = "[tenancy.limits]\ntokens_per_day = 60\n";
    let mut server = Setup::application().runtime_config(config).start();
    let ask = async |server: &Server| {
        let body = json!({ "input": "[sim: tokens=100] hi" });
        let response = client().post(server.url("/v1/responses")).json(&body).send().await.unwrap();
        let retry_after =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), retry_after, response.json::<Value>().await.unwrap())
    };
    let (status, _, answer) = ask(&server).await;
    assert_eq!(status, 200, "{answer}");
    let check = |(status, retry_after, error): (u16, Option<String>, Value)| {
        assert_eq!((status, &error["error"]["code"]), (429, &json!("budget_exceeded")), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("tokens_per_day"), "{error}");
        let seconds: u64 = retry_after.unwrap().parse().unwrap();
        assert!((1..=86_400).contains(&seconds), "{seconds}");
    };
    check(ask(&server).await);
    server.kill();
    server.restart();
    check(ask(&server).await);
}

#[tokio::test]
async fn what_is_used_of_a_budget_is_told() {
    let server =
        Setup::application().runtime_config("[tenancy.limits]\ntokens_per_day = 1_000_000\n").start();
    let bank = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank", "--name", "Bank"])));
    let answer = bank.request("POST", "/v1/responses").json(&json!({ "input": "hi" })).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let usage = Admin::of(&server).call("GET", "/tenants/bank/usage", None).await.json();
    let budget = &usage["budgets"][0];
    assert_eq!(
        (&budget["limit"], &budget["allowed"]),
        (&json!("tokens_per_day"), &json!(1_000_000)),
        "{usage}"
    );
    assert!(budget["used"].as_u64().unwrap() > 0, "{usage}");
}

#[tokio::test]
async fn the_same_question_is_asked_once_where_answers_are_kept() {
    let model = Model::start().await;
    let config = "[answer_cache]\ntime_to_live_s = 60\n";
    let server = model.serve(Setup::application().runtime_config(config)).start();
    let asked = || model.0.handle().requests().len();
    let (_, first) = turn(&server, json!({ "input": "What are your hours?" })).await;
    assert_eq!(asked(), 1);
    let (_, second) = turn(&server, json!({ "input": "  what are  your HOURS? " })).await;
    assert_eq!((text_of(&second), asked()), (text_of(&first), 1), "only its spelling differs");
    assert_ne!(first["id"], second["id"], "each is a response of its own");
    let (_, other) = turn(&server, json!({ "input": "Where are you?" })).await;
    assert_eq!(asked(), 2, "{other}");
    let (_, other) =
        turn(&server, json!({ "input": "What are your hours?", "instructions": "Be brief." })).await;
    assert_eq!(asked(), 3, "another prompt, another answer: {other}");
}

#[test]
fn what_is_wrong_with_upstreams_is_told_before_the_start() {
    let check = |text: &str, expected: &[&str]| {
        let error = crate::support::failing_start(&Setup::application().runtime_config(text));
        for part in expected {
            assert!(error.contains(part), "{part:?} is missing in:\n{error}");
        }
    };
    let endpoint =
        "[upstream.a]\nurl = \"http://a\"\n[model.x]\nupstream = \"a\"\n[model_endpoint]\nhedge = true\n";
    check(endpoint, &["`[model_endpoint]` is for", ":5:"]);
    check("[model_endpoint]\nattempts_max = 11\n", &["attempts_max", ":2:"]);
    check("[upstream.a]\nurl = \"https://a.example/v1\"\n", &["a", "model"]);
    check("[upstream.a]\nurl = \"ftp://a\"\n[model.x]\nupstream = \"a\"\n", &["url", "http"]);
    check(
        "[upstream.a]\nurl = \"http://a\"\n[model.x]\nupstream = \"b\"\n",
        &["there is no upstream `b`", ":4:", "upstream"],
    );
    let secret = "[upstream.a]\nurl = \"http://a\"\ncredential = { environment = \"NOT_SET_ANYWHERE\" }\n\
                  [model.x]\nupstream = \"a\"\n";
    check(secret, &["upstream.a", "NOT_SET_ANYWHERE"]);
}
