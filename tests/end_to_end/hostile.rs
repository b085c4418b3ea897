//! Functions that misbehave, each beside a well-behaved one in one real server: the caller gets a proper error, the
//! log names the function and the reason, the neighbour answers all through, and the function itself works again.

use crate::support::{Function, Server, Setup, client, eventually, failing_start, get, get_text};
use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const SHORT: &str = "[engine]\nrequest_cpu_ms_max = 300\n";

/// Asks the well-behaved function without a pause, until told to stop.
struct Neighbour {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Neighbour {
    fn watch(server: &Server) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, url) = (Arc::clone(&stop), Arc::clone(&answered), server.url("/hello"));
        let task = tokio::spawn(async move {
            let client = client();
            while !stopped.load(Relaxed) {
                assert_eq!(get_text(&client, &url).await, (200, "hello\n".to_owned()));
                count.fetch_add(1, Relaxed);
            }
        });
        Self { stop, answered, task }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Every answer was a good one, and there is one after this moment, too.
    async fn check_unharmed(self) {
        let before = self.answered();
        eventually("an answer of the neighbour", || self.answered() > before || self.task.is_finished())
            .await;
        self.stop.store(true, Relaxed);
        self.task.await.unwrap();
    }
}

fn beside_hello(guests: &[&str]) -> Setup {
    let functions = guests.iter().map(|guest| Function::guest(guest));
    Setup::functions(&functions.chain([Function::hello()]).collect::<Vec<_>>())
}

/// Lets the function do its worst, then asks it nicely.
async fn check(server: &Server, guest: &str, status: u16, code: &str, reason: &str) {
    let (client, neighbour) = (client(), Neighbour::watch(server));
    let (was, problem) = get(&client, &server.url(&format!("/{guest}/a?now"))).await;
    assert_eq!((was, problem["code"].as_str()), (status, Some(code)), "{guest}: {problem}");
    assert_eq!(problem["status"], status, "{guest}: {problem}");
    for inside in ["wasm", "secret", "trap", guest] {
        assert!(!problem.to_string().contains(inside), "{guest} shows {inside}: {problem}");
    }
    let named = |line: &str| line.contains(guest) && line.contains(reason) && line.contains("ERROR");
    eventually(&format!("{guest} and {reason:?} in the log: {}", server.output()), || {
        server.output().lines().any(named)
    })
    .await;
    for _ in 0..3 {
        let (status, text) = get_text(&client, &server.url(&format!("/{guest}/a"))).await;
        assert!(status == 200 && text.starts_with("fine"), "{guest} asked nicely: {status} {text}");
    }
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_is_reported_and_harms_nobody() {
    let guests = ["trap", "trap-p2", "panic", "grow-memory", "recurse", "no-answer", "no-answer-p2"];
    let config = "[engine]\ninstance_memory_bytes_max = 16777216\nrequest_cpu_ms_max = 10000\n";
    let server = beside_hello(&guests).runtime_config(config).start();
    check(&server, "trap", 500, "function_failed", "unreachable").await;
    check(&server, "trap-p2", 500, "function_failed", "unreachable").await;
    check(&server, "panic", 500, "function_failed", "unreachable").await;
    check(&server, "grow-memory", 500, "function_failed", "over the limit of 16777216 bytes").await;
    check(&server, "recurse", 500, "function_failed", "call stack exhausted").await;
    check(&server, "no-answer", 502, "function_no_response", "nothing came to mind").await;
    check(&server, "no-answer-p2", 502, "function_no_response", "response-outparam").await;
    assert!(
        server.output().contains("the secret of this panic"),
        "the operator must see it: {}",
        server.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_stopped_and_harms_nobody() {
    let server = beside_hello(&["endless-loop", "loop-p2"]).runtime_config(SHORT).start();
    check(&server, "endless-loop", 500, "function_cpu_time", "CPU time").await;
    check(&server, "loop-p2", 500, "function_cpu_time", "CPU time").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_without_end_are_bounded() {
    let server =
        beside_hello(&["unread-streams"]).runtime_config("[engine]\ninstance_handles_max = 500\n").start();
    check(&server, "unread-streams", 500, "function_failed", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_never_answers_is_given_up_at_its_deadline() {
    let server = beside_hello(&["never-answers"]).args(&["--request-timeout", "400ms"]).start();
    check(&server, "never-answers", 504, "function_timeout", "no response within the request's time, 400 ms")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_before_the_first_request_ends() {
    let server = beside_hello(&["loop-at-start"]).runtime_config(SHORT).start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    let asked = (0..3).map(|_| async { get(&client, &server.url("/loop-at-start/")).await });
    for (status, problem) in join_all(asked).await {
        assert_eq!((status, problem["code"].as_str()), (500, Some("function_cpu_time")), "{problem}");
    }
    let named = |line: &str| line.contains("loop-at-start") && line.contains("CPU time");
    assert!(server.output().lines().any(named), "{}", server.output());
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_loops_do_not_keep_others_waiting() {
    // Long enough that the loops are still running when the others have been answered.
    let server =
        beside_hello(&["endless-loop"]).runtime_config("[engine]\nrequest_cpu_ms_max = 3000\n").start();
    let client = client();
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (client.clone(), server.url("/endless-loop/?now"));
            tokio::spawn(async move { get(&client, &url).await })
        })
        .collect();
    let round = || join_all((0..20).map(|_| async { get_text(&client, &server.url("/hello")).await }));
    for _ in 0..3 {
        for answer in round().await {
            assert_eq!(answer, (200, "hello\n".to_owned()));
        }
    }
    assert!(loops.iter().any(|task| !task.is_finished()), "the others waited for the loops to end");
    for task in loops {
        let (status, problem) = task.await.unwrap();
        assert_eq!((status, problem["code"].as_str()), (500, Some("function_cpu_time")), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_cut_off() {
    let config = "[engine]\nrequest_timeout_ms = 600\nresponse_timeout_ms = 900\n";
    let server = beside_hello(&["never-finishes"]).runtime_config(config).start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    let response = client.get(server.url("/never-finishes/?now")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "begun\n");
    let end = body.next().await.expect("a body that was cut off must not look whole");
    assert!(end.is_err(), "{end:?}");
    assert_eq!(get_text(&client, &server.url("/never-finishes/")).await, (200, "begun\n".to_owned()));
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_function_trapped_does_not_look_whole() {
    let server = beside_hello(&["trap-in-body"]).start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    for _ in 0..5 {
        let response = client.get(server.url("/trap-in-body/?now")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.is_err(), "half a body passed for a whole one");
        let asked_nicely = get_text(&client, &server.url("/trap-in-body/")).await;
        assert_eq!(asked_nicely, (200, "fine, at first\n".to_owned()));
    }
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_body_was_read_reaches_the_client() {
    let server = beside_hello(&["answer-before-body"]).start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    for bytes in [0, 1, 64 << 10, 1 << 20, 8 << 20] {
        let url = server.url("/answer-before-body/");
        let response = client.post(url).body(vec![b'x'; bytes]).send().await.unwrap();
        assert_eq!(response.status(), 200, "{bytes} bytes");
        assert_eq!(response.text().await.unwrap(), "fine\n", "{bytes} bytes");
    }
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_calls_itself_for_ever_is_stopped() {
    let server = Setup::functions(&[
        Function::guest("loop-chain").with("allowed_outbound_hosts = [\"http://self\"]"),
        Function::hello(),
    ])
    .start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    let (status, text) = get_text(&client, &server.url("/loop-chain/?now")).await;
    assert_eq!((status, text.as_str()), (508, "ErrorCode::LoopDetected"));
    assert_eq!(get_text(&client, &server.url("/loop-chain/")).await, (200, "fine\n".to_owned()));
    neighbour.check_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_thinned_out_and_cleaned() {
    let server = beside_hello(&["log-flood"]).start();
    let (client, neighbour) = (client(), Neighbour::watch(&server));
    assert_eq!(get_text(&client, &server.url("/log-flood/?now")).await, (200, "fine\n".to_owned()));
    eventually("the first lines", || server.output().contains("flood line 1 ")).await;
    assert_eq!(get_text(&client, &server.url("/log-flood/")).await, (200, "fine\n".to_owned()));
    neighbour.check_unharmed().await;
    let output = server.output();
    let lines = output.lines().filter(|line| line.contains("flood line")).count();
    assert!((1..5_000).contains(&lines), "{lines} of 20000 lines reached the log");
    assert!(output.len() < 2 << 20, "{} bytes", output.len());
    assert!(!output.contains('\u{1b}'), "control characters reached the terminal");
}

#[test]
fn an_import_that_nobody_provides_is_named() {
    let text = r#"(component
        (import "acme:weather/forecast@1.2.0" (instance (export "today" (func (result string)))))
    )"#;
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(file.path(), wat::parse_str(text).unwrap()).unwrap();
    let setup = Setup::functions(&[Function::component("weather", file.path().to_owned())]);
    let error = failing_start(&setup);
    for expected in ["function `weather`", "acme:weather/forecast@1.2.0"] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

/// Gives a turn up while the model is at it, and waits until the model knows.
async fn check_disconnect(body: serde_json::Value, read_first: bool) {
    let model = model_sim::start(model_sim::SimConfig::default()).await.unwrap();
    let server = Setup::application().args(&["--model-endpoint", &format!("{}/v1", model.url())]).start();
    let request = client().post(server.url("/v1/responses")).json(&body);
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let turn = tokio::spawn(async move {
        let mut stream = request.send().await.unwrap().bytes_stream();
        stream.next().await.unwrap().unwrap();
        began.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    eventually("the turn to reach the model", || model.handle().stats().in_flight == 1).await;
    if read_first {
        has_begun.await.unwrap();
    }
    turn.abort();
    assert!(
        turn.await.is_err_and(|ended| ended.is_cancelled()),
        "{body}: it had ended before the client went away"
    );
    eventually(&format!("the model to hear of it: {body} {:?}", model.handle().stats()), || {
        let stats = model.handle().stats();
        (stats.cancelled, stats.in_flight) == (1, 0)
    })
    .await;
    let (status, next) =
        crate::support::post(&client(), &server.url("/v1/responses"), &json!({"input": "hi"})).await;
    assert_eq!((status, next["status"].as_str()), (200, Some("completed")), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_of_a_stream_stops_the_model() {
    check_disconnect(json!({"input": "[sim: tokens=5000 tps=20] long", "stream": true}), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_before_the_first_byte_stops_the_model() {
    for stream in [true, false] {
        check_disconnect(json!({"input": "[sim: fault=hang] never", "stream": stream}), false).await;
    }
}
