//! What operators see: metrics, and whether the host is alive and ready.

use crate::support::{Function, Server, Setup, client, eventually, get, get_text, post};
use crate::tenants_support::{Caller, Model, key_in, tenant};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) const LISTEN: &str = "[telemetry.metrics]\nlisten = \"127.0.0.1:0\"\n";

/// Where the operations listener is, as the start-up screen says.
fn operations(server: &Server, path: &str) -> String {
    server.wait_for_output("/metrics");
    let output = server.output();
    let line = output.lines().find(|line| line.ends_with("/metrics")).unwrap();
    line.trim().replace("/metrics", path)
}

/// All samples of a scrape, by name and labels as they are written.
pub(crate) async fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let (status, text) = get_text(&client(), &operations(server, "/metrics")).await;
    assert_eq!(status, 200, "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    });
    samples.collect()
}

/// The sum of the samples of this name whose labels hold all of `labels`.
pub(crate) fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let of_name = |sample: &str| sample.split('{').next() == Some(name);
    let all = samples.iter().filter(|(sample, _)| of_name(sample));
    all.filter(|(sample, _)| labels.iter().all(|label| sample.contains(label))).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn what_happens_is_in_the_metrics() {
    let (large, small) = (Model::start().await, Model::start().await);
    let config = format!(
        "{LISTEN}[upstream.first]\nurl = \"{}/v1\"\nattempts_max = 2\nbackoff_ms = 1\n\
         [upstream.second]\nurl = \"{}/v1\"\n\
         [model.large]\nupstream = \"first\"\noutput_price_per_million = \"1000\"\n[model.small]\nupstream = \"second\"\n",
        large.0.url(),
        small.0.url()
    );
    let server = Setup::application().runtime_config(&config).start();
    let turn = async |body: Value| post(&client(), &server.url("/v1/responses"), &body).await.0;
    assert_eq!(turn(json!({ "input": "hi", "model": "large" })).await, 200);
    assert_eq!(turn(json!({ "input": "Hello!", "model": "auto" })).await, 200);
    assert_eq!(turn(json!({ "input": "[sim: status=500] hi", "model": "large" })).await, 200);
    assert_eq!(get_text(&client(), &server.url("/nowhere")).await.0, 404);
    assert_eq!(get_text(&client(), &server.url("/hello")).await.0, 200);

    // A client has its answer a moment before the host is done with it.
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    let samples = loop {
        let samples = scrape(&server).await;
        assert!(std::time::Instant::now() < until, "{samples:#?}");
        if sum(&samples, "waggle_http_request_duration_seconds_count", &[]) >= 4.0 {
            break samples;
        }
    };
    let check = |name: &str, labels: &[&str], expected: f64| {
        assert_eq!(sum(&samples, name, labels), expected, "{name} {labels:?}: {samples:#?}");
    };
    let chat = ["tenant=\"default\"", "function=\"chat\"", "status=\"2xx\""];
    check("waggle_http_requests_total", &chat, 3.0);
    check("waggle_http_requests_total", &["route=\"/hello\"", "status=\"2xx\""], 1.0);
    check("waggle_http_requests_total", &["route=\"none\"", "status=\"4xx\""], 1.0);
    check("waggle_http_request_duration_seconds_count", &["function=\"chat\""], 3.0);
    check("waggle_http_requests_in_flight", &[], 0.0);
    check("waggle_instances_created_total", &["function=\"hello\""], 1.0);
    check("waggle_upstream_answers_total", &["upstream=\"first\""], 1.0);
    check("waggle_upstream_answers_total", &["upstream=\"second\""], 1.0);
    check("waggle_upstream_failures_total", &["upstream=\"first\"", "kind=\"status\""], 2.0);
    check("waggle_upstream_retries_total", &["upstream=\"first\""], 1.0);
    check("waggle_upstream_breaker_state", &["upstream=\"first\"", "endpoint=\"all\""], 0.0);
    check("waggle_fallbacks_total", &["reason=\"upstream_unavailable\""], 1.0);
    check("waggle_tier_choices_total", &["tier=\"small\""], 1.0);
    check(
        "waggle_kv_operations_total",
        &["store=\"default\"", "operation=\"set_many\"", "outcome=\"ok\""],
        3.0,
    );
    check("waggle_kv_operations_total", &["outcome=\"failed\""], 0.0);
    let at_least = |name: &str, labels: &[&str], least: f64| {
        assert!(sum(&samples, name, labels) >= least, "{name} {labels:?}: {samples:#?}");
    };
    at_least("waggle_instances_created_total", &["function=\"chat\""], 1.0);
    at_least("waggle_kv_sync_duration_seconds_count", &[], 1.0);
    at_least(
        "waggle_model_tokens_total",
        &["model=\"large\"", "direction=\"output\"", "tenant=\"default\""],
        1.0,
    );
    at_least("waggle_model_cost_total", &["model=\"large\""], 0.000_001);
    at_least("process_resident_memory_bytes", &[], 1e6);
    assert!(
        !large.last().to_string().contains("waggle_tier"),
        "what is for the metrics is not for the upstream"
    );
}

#[tokio::test]
async fn tenants_have_their_own_series_and_refusals_their_reason() {
    let config = format!("{LISTEN}tenants_named_max = 1\ntenants_named = [\"bank\"]\n");
    let server = Setup::application().runtime_config(&config).start();
    let bank = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank", "--name", "Bank"])));
    let shop = Caller::with(&server, &key_in(&tenant(&server, &["add", "shop", "--name", "Shop"])));
    for caller in [&bank, &bank, &shop] {
        assert_eq!(caller.status("/hello").await, 200);
    }
    assert_eq!(Caller::with(&server, "wk_nonsense").status("/hello").await, 401);
    let samples = scrape(&server).await;
    let hello = |tenant| sum(&samples, "waggle_http_requests_total", &[tenant, "route=\"/hello\""]);
    assert_eq!(hello("tenant=\"bank\""), 2.0, "{samples:#?}");
    assert_eq!(hello("tenant=\"other\""), 1.0, "{samples:#?}");
    assert!(!samples.keys().any(|sample| sample.contains("shop")), "{samples:#?}");
    assert_eq!(sum(&samples, "waggle_admission_refusals_total", &[]), 1.0, "{samples:#?}");
}

#[tokio::test]
async fn a_host_is_ready_until_it_goes_down() {
    let patient = format!("{LISTEN}[model_endpoint]\nfirst_byte_timeout_ms = 60000\n");
    let server = Setup::application().runtime_config(&patient).start();
    let (status, health) = get(&client(), &operations(&server, "/healthz")).await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    let (status, ready) = get(&client(), &operations(&server, "/readyz")).await;
    assert_eq!((status, &ready["status"]), (200, &json!("ready")), "{ready}");
    // A request under way keeps it from ending, so that one can see it leave.
    let slow = json!({ "model": "demo", "stream": true,
        "messages": [{ "role": "user", "content": "[sim: first_token_ms=5000] hi" }] });
    let request = client().post(server.url("/v1/chat/completions")).json(&slow).send();
    let request = tokio::spawn(request);
    let (url, ready_url) = (operations(&server, "/metrics"), operations(&server, "/readyz"));
    let under_way = async || get_text(&client(), &url).await.1.contains("\nwaggle_http_requests_in_flight 1");
    while !under_way().await {
        assert!(!request.is_finished(), "it was over before it was seen");
    }
    server.signal("TERM");
    let (status, leaving) = loop {
        let (status, leaving) = get(&client(), &ready_url).await;
        if status != 200 || request.is_finished() {
            break (status, leaving);
        }
    };
    assert_eq!(status, 503, "{leaving}");
    assert_eq!(leaving["checks"][0]["name"], "serving", "{leaving}");
    assert!(request.await.unwrap().unwrap().text().await.unwrap().contains("[DONE]"));
    eventually("the end", || TcpStream::connect(server.address()).is_err()).await;
}

#[tokio::test]
async fn mistakes_in_the_telemetry_section_are_told() {
    let check = |text: &str, part: &str| {
        let error = crate::support::failing_start(&Setup::application().runtime_config(text));
        assert!(error.contains(part), "{text}: {error}");
    };
    check("[telemetry]\nmetric = 1\n", "metric");
    check("[telemetry.metrics]\nlisten = \"nowhere\"\n", "listen");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    check(&format!("[telemetry.metrics]\nlisten = \"{address}\"\n"), &address.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_that_go_away_leave_nothing_behind() {
    let model = Model::start().await;
    let config = format!(
        "{LISTEN}[tenancy.limits]\ntokens_per_month = 1_000_000_000\nconcurrent_requests_max = 2000\n"
    );
    let server = model.serve(Setup::application().runtime_config(&config)).start();
    let before = scrape(&server).await;
    let clients = client();
    let turns = (0..1_000_u64).map(|number| {
        let body = json!({ "input": "[sim: tokens=400 tps=200] hi", "stream": number % 3 != 0 });
        let request = clients.post(server.url("/v1/responses")).json(&body);
        async move {
            // From before the head to the middle of the answer; the numbers spread without a generator.
            let patience = std::time::Duration::from_millis(number * 7_919 % 1_000);
            let read = async { request.send().await?.text().await };
            assert!(tokio::time::timeout(patience, read).await.is_err(), "nobody waits for the end");
        }
    });
    futures::future::join_all(turns).await;
    drop(clients);
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let after = scrape(&server).await;
        let is_over = |name: &str| sum(&after, name, &[]) == sum(&before, name, &[]);
        let gauges =
            ["waggle_http_requests_in_flight", "waggle_upstream_in_flight", "waggle_upstream_waiting"];
        if gauges.iter().all(|name| is_over(name)) && sum(&after, "waggle_connections", &[]) <= 1.0 {
            assert_eq!(sum(&after, "waggle_instances_ended_total", &["reason=\"trapped\""]), 0.0);
            break;
        }
        assert!(std::time::Instant::now() < until, "{after:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Every client that got as far as the model was a call; none of them is left there.
    eventually("the end at the model", || model.0.handle().stats().in_flight == 0).await;
    assert_eq!(post(&client(), &server.url("/v1/responses"), &json!({ "input": "hi" })).await.0, 200);
}

#[tokio::test]
async fn a_prompt_that_was_read_for_nothing_is_in_the_metrics() {
    let model = Model::start().await;
    let server = model.serve(Setup::application().runtime_config(LISTEN)).start();
    let body = json!({ "input": "[sim: first_token_ms=60000] hi", "stream": true });
    let turn = tokio::spawn(client().post(server.url("/v1/responses")).json(&body).send());
    eventually("the call", || model.0.handle().stats().in_flight == 1).await;
    turn.abort();
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    let samples = loop {
        let samples = scrape(&server).await;
        if sum(&samples, "waggle_model_abandoned_prompts_total", &["tenant=\"default\""]) == 1.0 {
            break samples;
        }
        assert!(std::time::Instant::now() < until, "{samples:#?}");
    };
    assert!(sum(&samples, "waggle_model_abandoned_tokens_total", &[]) >= 1.0, "{samples:#?}");
    assert_eq!(sum(&samples, "waggle_model_tokens_total", &[]), 0.0, "{samples:#?}");
}

/// A collector that keeps what it is sent, one batch for each connection's request.
pub(crate) struct Collector {
    pub(crate) url: String,
    batches: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let batches = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&batches);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || while let Some(()) = take(stream.as_ref().unwrap(), &kept) {});
            }
        });
        Self { url, batches }
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let batches = self.batches.lock().unwrap();
        let batches = batches.iter().map(|batch| ExportTraceServiceRequest::decode(&**batch).unwrap());
        let resources = batches.flat_map(|batch| batch.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// Takes one request off the connection and answers it; none when there are no more.
fn take(mut stream: &TcpStream, kept: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    kept.lock().unwrap().push(body);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()
}

pub(crate) fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Attribute::StringValue(text)) => text.clone(),
        Some(Attribute::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

#[tokio::test]
async fn one_trace_goes_from_the_caller_through_the_function_to_the_model() {
    let (collector, model) = (Collector::start(), Model::start().await);
    let config = format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.url);
    let server = model.serve(Setup::application().runtime_config(&config)).start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let turn = client().post(server.url("/v1/responses")).header("traceparent", parent);
    let secret = "the balance of my account";
    assert_eq!(turn.json(&json!({ "input": secret })).send().await.unwrap().status(), 200);
    // The first one ends last.
    eventually("the trace", || collector.spans().iter().any(|span| span.name.starts_with("POST"))).await;
    let spans = collector.spans();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    let (request, function, chat) = (named("POST"), named("function chat"), named("chat "));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for span in [request, function, chat] {
        assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736", "{}", span.name);
    }
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!((&function.parent_span_id, &chat.parent_span_id), (&request.span_id, &function.span_id));
    assert_eq!(attribute(request, "http.route"), "/v1/...");
    assert_eq!(attribute(request, "http.response.status_code"), "200");
    assert_eq!(attribute(request, "waggle.tenant"), "default");
    assert_eq!(attribute(function, "waggle.function"), "chat");
    assert_eq!(attribute(chat, "gen_ai.operation.name"), "chat");
    assert!(attribute(chat, "gen_ai.usage.output_tokens").parse::<u32>().unwrap() > 0, "{chat:#?}");
    let sent = model.0.handle().requests();
    let (_, onwards) = sent[0].headers.iter().find(|(name, _)| name == "traceparent").unwrap();
    assert_eq!(
        *onwards,
        format!("00-{}-{}-01", hex(&chat.trace_id), hex(&chat.span_id)),
        "the model sees its parent"
    );
    assert!(!format!("{spans:?}").contains(secret), "what people say is in no span");
    let (sync, write) = (named("store.sync"), named("set_many default"));
    assert_eq!((&sync.parent_span_id, &write.parent_span_id), (&function.span_id, &function.span_id));
    assert_eq!(attribute(write, "db.system.name"), "fjall");
    assert_eq!(attribute(write, "db.operation.name"), "set_many");
    assert_eq!(attribute(write, "db.collection.name"), "default");
    assert_eq!(attribute(write, "db.operation.batch.size"), "", "one entry is no batch");
    let events: Vec<_> = function.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["instance.placed", "instance.began"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_do_with_stores_stands_below_their_own_function_though_they_share_an_instance() {
    const TURNS: usize = 8;
    let (collector, model) = (Collector::start(), Model::start().await);
    let config = format!("[telemetry.traces]\nendpoint = \"{}\"\nsample_ratio = 0.0\n", collector.url);
    let server = model.serve(Setup::application().runtime_config(&config)).start();
    let clients = client();
    let turns = (0..2 * TURNS).map(|number| {
        // Every other one is traced, and all of them meet at the model.
        let flags = if number % 2 == 0 { "01" } else { "00" };
        let parent = format!("00-{:032x}-00f067aa0ba902b7-{flags}", number + 1);
        let body = json!({ "input": format!("[sim: first_token_ms=300] {number}") });
        clients.post(server.url("/v1/responses")).header("traceparent", parent).json(&body).send()
    });
    for turn in futures::future::join_all(turns).await {
        assert_eq!(turn.unwrap().status(), 200);
    }
    let count =
        |spans: &[Span], start: &str| spans.iter().filter(|span| span.name.starts_with(start)).count();
    eventually("all traces", || count(&collector.spans(), "POST") >= TURNS).await;
    let spans = collector.spans();
    let mut by_instance: BTreeMap<String, usize> = BTreeMap::new();
    let mut operations = Vec::new();
    for function in spans.iter().filter(|span| span.name == "function chat") {
        *by_instance.entry(attribute(function, "waggle.instance")).or_default() += 1;
        let trace: Vec<_> = spans.iter().filter(|span| span.trace_id == function.trace_id).collect();
        let stores: Vec<_> =
            trace.iter().filter(|span| !attribute(span, "db.system.name").is_empty()).collect();
        assert!(stores.iter().all(|span| span.parent_span_id == function.span_id), "{stores:#?}");
        operations.push(stores.iter().filter(|span| span.name == "set_many default").count());
    }
    assert_eq!(operations.len(), TURNS, "{operations:?}");
    assert!(operations.iter().all(|writes| *writes == operations[0] && *writes > 0), "{operations:?}");
    assert!(by_instance.values().any(|turns| *turns > 1), "none was shared: {by_instance:?}");
}

#[tokio::test]
async fn what_is_said_is_in_the_traces_of_a_tenant_that_wants_it_and_redacted() {
    let (collector, model) = (Collector::start(), Model::start().await);
    let config = format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.url);
    let server = model.serve(Setup::application().runtime_config(&config)).start();
    let settings = server.setup.folder().join("settings.toml");
    std::fs::write(&settings, "trace_content = true\n").unwrap();
    let open = key_in(&tenant(&server, &["add", "open", "--settings", settings.to_str().unwrap()]));
    let open = Caller::with(&server, &open);
    let silent = Caller::with(&server, &key_in(&tenant(&server, &["add", "silent"])));
    let said = "Orchid: mail me@example.com, card 4111 1111 1111 1111, key sk-abcdef0123456789";
    for stream in [false, true] {
        let body = json!({ "input": said, "stream": stream });
        assert_eq!(open.post("/v1/responses", &body).await.status, 200);
        assert_eq!(silent.post("/v1/responses", &body).await.status, 200);
    }
    let all = || collector.spans();
    let chats = || all().into_iter().filter(|span| span.name.starts_with("chat ")).collect::<Vec<_>>();
    let requests = || all().iter().filter(|span| span.name.starts_with("POST")).count();
    eventually("all traces", || requests() >= 4 && chats().len() >= 4).await;
    let of = |tenant: &str| {
        let spans = all();
        let traces: Vec<_> = spans
            .iter()
            .filter(|span| attribute(span, "waggle.tenant") == tenant)
            .map(|span| span.trace_id.clone())
            .collect();
        spans.into_iter().filter(|span| traces.contains(&span.trace_id)).collect::<Vec<_>>()
    };
    let silent = of("silent");
    assert!(silent.len() >= 6 && !format!("{silent:?}").contains("Orchid"), "{silent:#?}");
    let open: Vec<_> = of("open").into_iter().filter(|span| span.name.starts_with("chat ")).collect();
    assert_eq!(open.len(), 2, "{open:#?}");
    let redacted = "Orchid: mail [email], card [card], key [key]";
    for chat in open {
        let messages = |name: &str| serde_json::from_str::<Value>(&attribute(&chat, name)).unwrap();
        let asked = messages("gen_ai.input.messages");
        let last = asked.as_array().unwrap().last().unwrap();
        assert_eq!(*last, json!({ "role": "user", "parts": [{ "type": "text", "content": redacted }] }));
        let answered = messages("gen_ai.output.messages");
        let text = answered[0]["parts"][0]["content"].as_str().unwrap();
        assert_eq!(
            (text.contains(redacted), &answered[0]["finish_reason"]),
            (true, &json!("stop")),
            "{answered}"
        );
        let all = format!("{:?}", chat.attributes);
        assert!(!all.contains("me@example") && !all.contains("4111") && !all.contains("sk-abc"), "{all}");
    }
}

#[tokio::test]
async fn a_collector_that_is_gone_costs_nothing_and_the_end_does_not_wait_for_it() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("{LISTEN}[telemetry.traces]\nendpoint = \"http://{closed}\"\n");
    let mut server = Setup::application().runtime_config(&config).start();
    for _ in 0..20 {
        assert_eq!(get_text(&client(), &server.url("/hello")).await.0, 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request_and_nothing_that_was_said() {
    let setup = Setup::application();
    let file = setup.folder().join("access.log");
    let config = format!("[telemetry.access_log]\noutput = {:?}\n", file.to_str().unwrap());
    let mut server = setup.runtime_config(&config).start();
    let turn = json!({ "input": "the balance of my account" });
    assert_eq!(post(&client(), &server.url("/v1/responses?key=hunter2"), &turn).await.0, 200);
    assert_eq!(get_text(&client(), &server.url("/nowhere")).await.0, 404);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let check = |line: &Value, expected: Value| {
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&line[key], value, "{key}: {line}");
        }
    };
    check(
        &lines[0],
        json!({ "method": "POST", "path": "/v1/responses", "status": 200, "tenant": "default",
        "route": "/v1/...", "function": "chat", "outcome": "complete" }),
    );
    assert!(
        lines[0]["request_bytes"].as_u64().unwrap() > 30
            && lines[0]["response_bytes"].as_u64().unwrap() > 100
    );
    check(
        &lines[1],
        json!({ "method": "GET", "path": "/nowhere", "status": 404, "route": null, "outcome": "complete" }),
    );
    assert!(!text.contains("balance") && !text.contains("hunter2"), "{text}");
}

/// All records of the log that a collector has, with their scopes.
fn records(collector: &Collector) -> Vec<(String, LogRecord)> {
    let batches = collector.batches.lock().unwrap();
    let batches = batches.iter().map(|batch| ExportLogsServiceRequest::decode(&**batch).unwrap());
    let scopes = batches.flat_map(|batch| batch.resource_logs).flat_map(|resource| resource.scope_logs);
    let named = scopes.flat_map(|scope| {
        let name = scope.scope.unwrap().name;
        scope.log_records.into_iter().map(move |record| (name.clone(), record))
    });
    named.collect()
}

/// The one of this scope whose body holds `part`.
fn record_with(collector: &Collector, scope: &str, part: &str) -> Option<LogRecord> {
    let says = |record: &LogRecord| format!("{:?}", record.body).contains(part);
    let found = records(collector).into_iter().find(|(name, record)| name == scope && says(record));
    found.map(|(_, record)| record)
}

#[tokio::test]
async fn what_functions_print_and_the_host_logs_arrives_at_the_collector() {
    let (spans, logs) = (Collector::start(), Collector::start());
    let config = format!(
        "{LISTEN}[telemetry.traces]\nendpoint = \"{}\"\n[telemetry.logs]\nendpoint = \"{}\"\n",
        spans.url, logs.url
    );
    let setup = Setup::functions(&[Function::guest("panic"), Function::guest("never-answers")]);
    let server = setup.args(&["--request-timeout", "400ms"]).runtime_config(&config).start();
    let ask = async |function: &str, status: u16| {
        let request = client().get(server.url(&format!("/{function}/a?now")));
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let response = request.header("traceparent", parent).send().await.unwrap();
        assert_eq!(response.status(), status, "{function}");
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let check = async |scope: &str, part: &str, severity: &str, function: &str, request: &str| {
        eventually(part, || record_with(&logs, scope, part).is_some()).await;
        let record = record_with(&logs, scope, part).unwrap();
        assert_eq!(record.severity_text, severity, "{record:?}");
        let of = |name: &str| {
            let found = record.attributes.iter().find(|attribute| attribute.key == name);
            match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
                Some(Attribute::StringValue(text)) => text.clone(),
                other => panic!("{name}: {other:?} in {record:?}"),
            }
        };
        assert_eq!((of("waggle.tenant"), of("waggle.function")), ("default".into(), function.into()));
        assert_eq!(of("waggle.request"), request);
        record
    };
    let request = ask("panic", 500).await;
    let line = check("function", "the secret of this panic", "INFO", "panic", &request).await;
    assert_eq!(line.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes(), "{line:?}");
    eventually("the function's span", || spans.spans().iter().any(|span| span.span_id == line.span_id)).await;
    let request = ask("never-answers", 504).await;
    let host = "function returned no response";
    check("waggle_engine::engine", host, "ERROR", "never-answers", &request).await;
    let samples = scrape(&server).await;
    assert!(sum(&samples, "waggle_log_records_total", &["outcome=\"sent\""]) >= 2.0, "{samples:#?}");
    assert_eq!(sum(&samples, "waggle_log_records_total", &["outcome=\"undelivered\""]), 0.0);
}

#[tokio::test]
async fn an_access_log_for_a_collector_that_nobody_named_is_a_mistake() {
    let setup = Setup::application().runtime_config("[telemetry.access_log]\noutput = \"otlp\"\n");
    let error = crate::support::failing_start(&setup);
    assert!(error.contains("[telemetry.logs]"), "{error}");
}
