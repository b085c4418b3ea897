//! What a tenant may use up: each limit refuses with its name, and only the tenant that is over it.

use crate::neighbours::tenants::{key_of, tenants_toml, with_tenants};
use crate::support::{Function, PATIENCE, Server, Setup, eventually};
use crate::tenants_support::{Admin, Answer, Caller, Model, in_force};
use futures::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

/// The tenant without limits of its own.
const FREE: &str = "free";

fn caller(server: &Server, tenant: &str) -> Caller {
    Caller::with(server, &key_of(tenant))
}

/// These guests with these tenants beside one without limits. The guest `v1` is `headers-echo` below `/v1`.
fn start(guests: &[&str], config: &str, tenants: &[(&str, &str)]) -> Server {
    let echo = [Function::guest("headers-echo").named("v1"), Function::hello()];
    let guests = guests.iter().map(|guest| Function::guest(guest).with("key_value_stores = [\"default\"]"));
    let setup = Setup::functions(&guests.chain(echo).collect::<Vec<_>>()).runtime_config(config);
    with_tenants(setup, tenants.iter().copied().chain([(FREE, "")])).start()
}

/// The application with these tenants beside one without limits.
fn application(model: &Model, tenants: &[(&str, &str)]) -> Server {
    let setup = model.serve(Setup::application());
    with_tenants(setup, tenants.iter().copied().chain([(FREE, "")])).start()
}

/// Asks until it is refused.
async fn refused(caller: &Caller, path: &str) -> Answer {
    for _ in 0..200 {
        let answer = caller.get(path).await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("{path} is never refused");
}

fn check_exceeded(answer: &Answer, limit: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"), "{answer:?}");
    assert!(answer.text.contains(&format!("({limit})")), "{limit} is not named in {answer:?}");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
}

#[tokio::test]
async fn a_rate_has_a_burst_and_says_what_is_left() {
    let rate = "limits = { requests_per_second = 2, requests_burst = 5, wait_ms_max = 0 }";
    let patient = "limits = { requests_per_second = 20, requests_burst = 1, wait_ms_max = 10000 }";
    let hasty = "limits = { requests_per_second = 1, requests_burst = 1, wait_ms_max = 0 }";
    let server = start(&[], "", &[("rated", rate), ("patient", patient), ("hasty", hasty)]);
    let rated = caller(&server, "rated");
    let first = rated.get("/hello").await;
    assert_eq!(first.header("ratelimit-policy"), "\"requests_per_second\";q=5;w=3", "{first:?}");
    assert!(first.header("ratelimit").starts_with("\"requests_per_second\";r=4;t="), "{first:?}");
    let problem = refused(&rated, "/hello").await;
    check_exceeded(&problem, "requests_per_second");
    assert_eq!(problem.header("content-type"), "application/problem+json", "{problem:?}");
    assert_eq!(problem.json()["status"], 429);
    assert_eq!(problem.header("retry-after"), "1", "{problem:?}");
    assert!(problem.header("ratelimit").starts_with("\"requests_per_second\";r=0;t=1"), "{problem:?}");
    let open_ai = refused(&rated, "/v1/models").await;
    check_exceeded(&open_ai, "requests_per_second");
    assert_eq!(open_ai.json()["error"]["type"], "requests", "{open_ai:?}");
    assert!(open_ai.text.contains("2 requests per second"), "{open_ai:?}");

    // A short wait absorbs what is just over the rate; ten at 20 a second with a burst of one take 450 ms.
    let ten = |tenant: &str| {
        let caller = caller(&server, tenant);
        async move { join_all((0..10).map(|_| caller.status("/hello"))).await }
    };
    let began = Instant::now();
    assert_eq!(ten("patient").await, [200; 10]);
    assert!(began.elapsed() >= Duration::from_millis(430), "{:?}", began.elapsed());
    let statuses = ten("hasty").await;
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
    // Others have neither the limit nor its fields.
    for _ in 0..50 {
        let free = caller(&server, FREE).get("/hello").await;
        assert!(free.status == 200 && free.header("ratelimit").is_empty(), "{free:?}");
    }
    // It is the tenant's, not the key's or the connection's, and it comes back.
    eventually_ok(&rated, "/hello").await;
}

async fn eventually_ok(caller: &Caller, path: &str) {
    in_force(&format!("{path} again"), async || caller.status(path).await == 200).await;
}

#[tokio::test]
async fn requests_at_once_have_a_bound() {
    let limits = "limits = { concurrent_requests_max = 2, wait_ms_max = 0 }";
    let server = start(&["sleeper"], "", &[("narrow", limits)]);
    let (narrow, admin) = (caller(&server, "narrow"), Admin::of(&server));
    let held: Vec<_> = (0..2)
        .map(|_| {
            let narrow = narrow.clone();
            tokio::spawn(async move { narrow.status("/sleeper/?ms=2500").await })
        })
        .collect();
    in_force("both requests", async || {
        admin.done("GET", "/tenants/narrow/usage", None).await["concurrent_requests"] == 2
    })
    .await;
    let third = narrow.get("/hello").await;
    check_exceeded(&third, "concurrent_requests_max");
    assert!(third.text.contains("2 requests at once"), "{third:?}");
    assert_eq!(caller(&server, FREE).status("/hello").await, 200);
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
    eventually_ok(&narrow, "/hello").await;
    let usage = admin.done("GET", "/tenants/narrow/usage", None).await;
    assert_eq!(usage["concurrent_requests"], 0, "{usage}");
}

/// Sends so many bytes without saying how many they will be.
async fn undeclared(caller: &Caller, path: &str, bytes: usize) -> Answer {
    let pieces: Vec<_> = vec![b'x'; bytes].chunks(bytes.div_ceil(20)).map(<[u8]>::to_vec).collect();
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let request = caller.request("POST", path).header("content-type", "application/json");
    Answer::of(request.body(reqwest::Body::wrap_stream(pieces))).await
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_declared_or_not() {
    let model = Model::start().await;
    let setup =
        model.serve(Setup::application()).runtime_config("[gateway]\nrequest_body_bytes_max = 2097152\n");
    let server = with_tenants(setup, [("small", "limits.request_body_bytes_max = 1000"), (FREE, "")]).start();
    let (small, long) = (caller(&server, "small"), "x".repeat(2_000));
    let declared = small.turn(&long).await;
    assert_eq!((declared.status, declared.code().as_str()), (413, "request_too_large"), "{declared:?}");
    let names_it = |answer: &Answer, limit: u64| {
        answer.text.contains(&format!("{limit} bytes")) && answer.text.contains("(request_body_bytes_max)")
    };
    assert!(names_it(&declared, 1_000), "{declared:?}");
    for path in ["/v1/responses", "/v1/chat/completions", "/v1/conversations"] {
        let chunked = undeclared(&small, path, 2_000).await;
        assert_eq!(
            (chunked.status, chunked.code().as_str()),
            (413, "request_too_large"),
            "{path}: {chunked:?}"
        );
        assert!(names_it(&chunked, 1_000), "{path}: {chunked:?}");
        assert_eq!(chunked.json()["error"]["type"], "invalid_request_error", "{path}: {chunked:?}");
    }
    // The host's own bound, which is below the chat function's.
    let bound = 2 << 20;
    let over = undeclared(&caller(&server, FREE), "/v1/responses", bound + 1).await;
    assert_eq!((over.status, over.code().as_str()), (413, "request_too_large"), "{over:?}");
    assert!(names_it(&over, bound as u64), "{over:?}");
    // A body within the bound is none of the host's business, declared or not.
    let within = undeclared(&small, "/v1/responses", 1_000).await;
    assert_eq!((within.status, within.code().as_str()), (400, "invalid_json"), "{within:?}");
    assert_eq!(model.0.handle().stats().requests, 0);
    assert_eq!(small.turn("short").await.status, 200);
    assert_eq!(caller(&server, FREE).turn(&long).await.status, 200);
}

#[tokio::test]
async fn tokens_are_counted_after_the_fact_and_debts_are_waited_for() {
    let model = Model::start().await;
    let limit = "limits.tokens_per_minute = 100";
    let server = application(&model, &[("plain", limit), ("streamed", limit), ("chat", limit)]);
    let long = "[sim: tokens=300] go on";
    let ways = [
        ("plain", "/v1/responses", json!({ "input": long })),
        ("streamed", "/v1/responses", json!({ "input": long, "stream": true })),
        ("chat", "/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": long }] })),
    ];
    for (tenant, path, body) in ways {
        let caller = caller(&server, tenant);
        let first = caller.post(path, &body).await;
        assert_eq!(first.status, 200, "{tenant}: {first:?}");
        assert!(first.header("ratelimit").starts_with("\"tokens_per_minute\";r="), "{tenant}: {first:?}");
        let second = caller.turn("hi").await;
        check_exceeded(&second, "tokens_per_minute");
        assert_eq!(second.json()["error"]["type"], "tokens", "{tenant}: {second:?}");
        assert!(second.header("ratelimit").starts_with("\"tokens_per_minute\";r=0;"), "{tenant}: {second:?}");
        let wait: u64 = second.header("retry-after").parse().unwrap();
        assert!((60..600).contains(&wait), "{tenant}: a debt of 200 tokens takes two minutes: {second:?}");
    }
    assert_eq!(caller(&server, FREE).turn(long).await.status, 200);
    assert_eq!(caller(&server, FREE).turn("hi").await.status, 200);
}

#[tokio::test]
async fn instances_and_memory_of_one_tenant_are_not_anothers() {
    let config = "[engine]\ninstance_wait_ms = 200\ninstance_memory_bytes_max = 67108864\n";
    let tenants = [
        ("one", "limits.instances_max = 1"),
        ("small", "limits.memory_bytes_max = 8388608"),
        ("slim", "limits.instance_memory_bytes_max = 4194304"),
    ];
    let server = start(&["sleeper", "memory-to-the-limit"], config, &tenants);
    let one = caller(&server, "one");
    let held = tokio::spawn({
        let one = one.clone();
        async move { one.status("/sleeper/?ms=3000").await }
    });
    let admin = Admin::of(&server);
    in_force("the instance", async || admin.done("GET", "/tenants/one/usage", None).await["instances"] == 1)
        .await;
    let refused = one.get("/hello").await;
    check_exceeded(&refused, "instances_max");
    assert!(refused.text.contains("1 instances at once"), "{refused:?}");
    let open_ai = one.get("/v1/models").await;
    check_exceeded(&open_ai, "instances_max");
    assert_eq!(open_ai.json()["error"]["type"], "requests", "{open_ai:?}");
    assert_eq!(caller(&server, FREE).status("/hello").await, 200);
    assert_eq!(held.await.unwrap(), 200);
    // An idle instance gives way.
    eventually_ok(&one, "/hello").await;

    let pages = async |tenant: &str| {
        let answer = caller(&server, tenant).get("/memory-to-the-limit/?now").await;
        assert_eq!(answer.status, 200, "{tenant}: {answer:?}");
        answer.text.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(pages(FREE).await, 1024, "64 MiB, the host's bound");
    assert_eq!(pages("slim").await, 64, "4 MiB, the tenant's");
    let small = pages("small").await;
    assert!((64..=128).contains(&small), "at most 8 MiB, in pages: {small}");
    // The instance that holds all of it may still be ending the request before.
    eventually_ok(&caller(&server, "small"), "/memory-to-the-limit/").await;
    let usage = admin.done("GET", "/tenants/small/usage", None).await;
    assert!((1..=8 << 20).contains(&usage["memory_bytes"].as_u64().unwrap()), "{usage}");
}

#[tokio::test]
async fn a_host_without_a_free_instance_says_that_the_limit_is_its_own() {
    // A quarter of two instances is one, so two tenants take all there are.
    let config = "[engine]\ninstance_wait_ms = 200\ninstances_max = 2\n";
    let server = start(&["sleeper"], config, &[("one", ""), ("other", "")]);
    let admin = Admin::of(&server);
    let mut held = Vec::new();
    for tenant in ["one", "other"] {
        let busy = caller(&server, tenant);
        held.push(tokio::spawn(async move { busy.status("/sleeper/?ms=4000").await }));
        in_force("the instance", async || {
            admin.done("GET", &format!("/tenants/{tenant}/usage"), None).await["instances"] == 1
        })
        .await;
    }
    for path in ["/hello", "/v1/models"] {
        let refused = caller(&server, FREE).get(path).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "server_overloaded"), "{refused:?}");
        assert_eq!(refused.header("retry-after"), "1", "{refused:?}");
        assert!(refused.text.contains("(instances_max)"), "{refused:?}");
        // The tenant that has its share already is over its own limit, whatever the host has left.
        check_exceeded(&caller(&server, "one").get(path).await, "instances_max");
    }
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
    eventually_ok(&caller(&server, FREE), "/hello").await;
}

#[tokio::test]
async fn an_instance_that_its_tenant_has_no_memory_for_is_refused_by_the_limits_name() {
    let limits = "isolation = \"request\"\nlimits.memory_bytes_max = 4194304";
    let server = start(&["sleeper"], "", &[("small", limits)]);
    let small = caller(&server, "small");
    let answers = join_all((0..12).map(|_| small.get("/sleeper/?ms=1500"))).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !refused.is_empty(), "{answers:?}");
    for answer in refused {
        check_exceeded(answer, "memory_bytes_max");
        assert!(answer.text.contains("4194304 bytes of memory for all instances"), "{answer:?}");
    }
    assert_eq!(caller(&server, FREE).status("/sleeper/").await, 200);
    // What was taken is given back with the instances.
    eventually_ok(&small, "/sleeper/").await;
}

#[tokio::test]
async fn a_function_that_fails_for_want_of_memory_names_the_limit() {
    let config = "[engine]\nrequest_cpu_ms_max = 5000\n";
    let tenants = [
        ("slim", "limits.instance_memory_bytes_max = 4194304"),
        ("small", "limits.memory_bytes_max = 8388608"),
    ];
    let server = start(&["grow-memory"], config, &tenants);
    for (tenant, limit) in [("slim", "instance_memory_bytes_max"), ("small", "memory_bytes_max")] {
        let failed = caller(&server, tenant).get("/grow-memory/?now").await;
        assert_eq!((failed.status, failed.code().as_str()), (500, "function_failed"), "{tenant}: {failed:?}");
        assert!(failed.text.contains(&format!("({limit})")), "{tenant}: {failed:?}");
    }
}

/// CPU time of the server so far.
fn cpu_time(server: &Server) -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

#[tokio::test]
async fn computing_has_a_bound_for_a_request_and_a_rate_for_a_tenant() {
    let tenants = [("short", "limits.request_cpu_ms_max = 50"), ("slow", "limits.cpu_ms_per_second = 100")];
    let server = start(&["endless-loop"], "[engine]\nrequest_cpu_ms_max = 20000\n", &tenants);
    let stopped = caller(&server, "short").get("/endless-loop/?now").await;
    assert_eq!((stopped.status, stopped.code().as_str()), (500, "function_cpu_time"), "{stopped:?}");
    assert!(stopped.text.contains("50 ms"), "{stopped:?}");
    // Warm, so that compiling is not counted.
    assert_eq!(caller(&server, "slow").status("/endless-loop/").await, 200);
    assert_eq!(caller(&server, FREE).status("/hello").await, 200);

    let busy = caller(&server, "slow");
    let busy = tokio::spawn(async move { busy.status("/endless-loop/?now").await });
    let (began, before) = (Instant::now(), cpu_time(&server));
    let mut answers = 0;
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(caller(&server, FREE).status("/hello").await, 200);
        answers += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used = cpu_time(&server) - before;
    eprintln!("CPU time in 2 s at 100 ms a second, with {answers} answers for another tenant: {used:?}");
    assert!(used < Duration::from_millis(1_000), "{used:?}");
    assert!(!busy.is_finished(), "it was slowed, not stopped");
    busy.abort();
}

#[tokio::test]
async fn a_request_that_its_tenants_rate_of_computing_slows_down_is_told_so_at_its_deadline() {
    let config = "[engine]\nrequest_cpu_ms_max = 20000\nrequest_timeout_ms = 1000\n";
    let server =
        start(&["endless-loop", "never-answers"], config, &[("slow", "limits.cpu_ms_per_second = 50")]);
    let slowed = caller(&server, "slow").get("/endless-loop/?now").await;
    assert_eq!((slowed.status, slowed.code().as_str()), (504, "function_timeout"), "{slowed:?}");
    assert!(slowed.text.contains("50 ms of CPU time in a second (cpu_ms_per_second)"), "{slowed:?}");
    // One that waits for something else is not.
    let late = caller(&server, FREE).get("/never-answers/?now").await;
    assert_eq!((late.status, late.code().as_str()), (504, "function_timeout"), "{late:?}");
    assert!(!late.text.contains("cpu_ms_per_second"), "{late:?}");
}

#[tokio::test]
async fn storage_that_is_full_says_so_and_deleting_makes_room() {
    let model = Model::start().await;
    let server = application(&model, &[("full", "limits.storage_bytes_max = 30000")]);
    let (full, text) = (caller(&server, "full"), "x".repeat(4_000));
    let mut responses = Vec::new();
    let refused = loop {
        let answer = full.turn(&text).await;
        if answer.status != 200 {
            break answer;
        }
        responses.push(answer.json()["id"].as_str().unwrap().to_owned());
        assert!(responses.len() < 20, "the storage is never full");
    };
    assert_eq!((refused.status, refused.code().as_str()), (429, "storage_limit_exceeded"), "{refused:?}");
    assert_eq!(refused.json()["error"]["type"], "insufficient_quota", "{refused:?}");
    assert!(refused.text.contains("(storage_bytes_max)"), "{refused:?}");
    // How much is used, and of how much, is the operator's to know.
    assert!(!refused.text.contains("30000"), "{refused:?}");
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), ("60", "false"));
    let stream = full.post("/v1/responses", &json!({ "input": text, "stream": true })).await;
    let turn = stream.text.strip_suffix("data: [DONE]\n\n").unwrap_or_default();
    let last = turn.trim_end().rsplit("\n\n").next().unwrap_or_default();
    assert!(stream.status == 200 && last.starts_with("event: error\n"), "{stream:?}");
    assert!(
        last.contains("\"storage_limit_exceeded\"") && last.contains("(storage_bytes_max)"),
        "{stream:?}"
    );
    assert!(!stream.text.contains("response.completed"), "{stream:?}");
    server.wait_for_output("of 30000 bytes of this tenant's storage are used");
    assert!(responses.len() >= 2, "{refused:?}");
    assert_eq!(caller(&server, FREE).turn(&text).await.status, 200);
    // What is there can be read and deleted, and then there is room.
    for id in &responses {
        let path = format!("/v1/responses/{id}");
        assert_eq!(full.status(&path).await, 200);
        assert_eq!(Answer::of(full.request("DELETE", &path)).await.status, 200);
    }
    assert_eq!(full.turn(&text).await.status, 200);
}

#[tokio::test]
async fn an_address_is_counted_behind_the_proxies_that_are_trusted() {
    let asked = async |server: &Server, field: Option<(&str, &str)>| {
        let request = caller(server, FREE).request("GET", "/hello");
        Answer::of(match field {
            Some((name, value)) => request.header(name, value),
            None => request,
        })
        .await
    };
    let config = "[gateway]\nclient_requests_per_minute = 5\n";
    let server = start(&[], &format!("{config}trusted_proxies = [\"127.0.0.0/8\"]\n"), &[]);
    let flood = async |server: &Server, field: (&str, &str)| {
        for _ in 0..5 {
            assert_eq!(asked(server, Some(field)).await.status, 200, "{field:?}");
        }
        let refused = asked(server, Some(field)).await;
        check_exceeded(&refused, "requests_per_minute");
        assert!(refused.text.contains("from one address"), "{refused:?}");
    };
    flood(&server, ("forwarded", "for=192.0.2.1;proto=https")).await;
    flood(&server, ("x-forwarded-for", "192.0.2.2")).await;
    // What a client puts in front of what the proxy adds counts for nothing.
    let evasion = asked(&server, Some(("x-forwarded-for", "203.0.113.9, 192.0.2.2"))).await;
    assert_eq!(evasion.status, 429, "{evasion:?}");
    let network = asked(&server, Some(("forwarded", "for=\"[2001:db8::1]\""))).await;
    assert_eq!(network.status, 200, "{network:?}");

    // A peer that is no trusted proxy is the client, whatever it says.
    let server = start(&[], config, &[]);
    let mut statuses = Vec::new();
    for number in 0..6 {
        let told = format!("for=192.0.2.{number}");
        statuses.push(asked(&server, Some(("forwarded", &told))).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    // It is refused before anybody looks at the credential.
    assert_eq!(Caller::nobody(&server).status("/hello").await, 429);
}

#[tokio::test]
async fn a_host_short_of_memory_refuses_everybody_for_a_while() {
    let config = "[engine]\nidle_instance_timeout_ms = 200\n[gateway]\nmemory_bytes_max = 67108864\n";
    let server = start(&["memory-to-the-limit"], config, &[]);
    let free = caller(&server, FREE);
    // The process itself may already be over what is the least that can be configured.
    let began = Instant::now();
    let refused = loop {
        let answer = free.get("/memory-to-the-limit/?now").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "the watermark is never noticed: {answer:?}");
    };
    assert_eq!(refused.code(), "server_overloaded", "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1", "{refused:?}");
    assert!(refused.text.contains("short of memory"), "{refused:?}");
    server.wait_for_output("memory watermark");
    assert_eq!(free.status("/.well-known/spin/health").await, 200);
}

#[tokio::test]
async fn limits_have_defaults_and_change_while_requests_run() {
    let config = "[tenancy.limits]\nrequest_body_bytes_max = 10\nrequests_per_second = 1000\n";
    let server = start(&[], config, &[("own", "limits.request_body_bytes_max = 20")]);
    let sized = async |tenant: &Caller, bytes: usize| {
        Answer::of(tenant.request("POST", "/v1/x").body("x".repeat(bytes))).await.status
    };
    let (free, own) = (caller(&server, FREE), caller(&server, "own"));
    assert_eq!((sized(&free, 10).await, sized(&free, 11).await), (200, 413), "the host's default");
    assert_eq!((sized(&own, 20).await, sized(&own, 21).await), (200, 413), "the tenant's own");
    assert!(own.get("/hello").await.header("ratelimit-policy").contains("q=1000;w=1"));

    let admin = Admin::of(&server);
    let stored = Caller::with(&server, &admin.create("stored", json!({})).await);
    assert_eq!(sized(&stored, 11).await, 413);
    admin.change("stored", json!({ "limits": { "request_body_bytes_max": 30 } })).await;
    assert_eq!((sized(&stored, 30).await, sized(&stored, 31).await), (200, 413));
    let path = server.setup.folder().join("tenants.toml");
    std::fs::write(&path, tenants_toml([("own", "limits.request_body_bytes_max = 40"), (FREE, "")])).unwrap();
    in_force("a limit of the file", async || sized(&own, 40).await == 200).await;
    eventually("the log of it", || server.output().contains("tenants read again")).await;
}
