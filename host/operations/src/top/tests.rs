//! `waggle top --once` against the real listener and against servers that are none, and the scrapes that other tests show.

use super::*;
use crate::scrape::Scrape;
use crate::{Checks, Listen, Operations, bind, serve};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use waggle_telemetry::metrics::{BuildInfo, Families, Metrics, ProcessSource};

/// When the host of [`scrapes`] started, in seconds since 1970.
const STARTED_S: u64 = 1_700_000_000;

/// A scrape of `text`, `at_ms` after `begin`.
pub(super) fn reading(text: &str, begin: Instant, at_ms: u64) -> Reading {
    Reading {
        scrape: Scrape::parse(text).unwrap(),
        taken: begin + Duration::from_millis(at_ms),
        taken_at: UNIX_EPOCH + Duration::from_secs(STARTED_S + 723),
    }
}

/// A host at work, before and after two seconds.
pub(super) fn scrapes() -> [Reading; 2] {
    let begin = Instant::now();
    [reading(BEFORE, begin, 0), reading(AFTER, begin, 2_000)]
}

const BEFORE: &str = r#"
waggle_build_info{version="0.1.0"} 1
process_start_time_seconds 1700000000
process_cpu_seconds_total 10
waggle_http_requests_total{tenant="bank",route="/v1/...",function="chat",status="2xx"} 100
waggle_http_requests_total{tenant="bank",route="/v1/...",function="chat",status="5xx"} 5
waggle_http_requests_total{tenant="other",route="none",function="none",status="4xx"} 7
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="0.1"} 50
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="0.2"} 100
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="+Inf"} 105
waggle_admission_refusals_total{reason="server_overloaded"} 1
waggle_admission_refusals_total{reason="invalid_api_key"} 9
waggle_instances_created_total{function="chat"} 3
waggle_instances_ended_total{function="chat",reason="retired"} 3
waggle_instances_ended_total{function="chat",reason="trapped"} 0
waggle_upstream_calls_total{upstream="local"} 10
waggle_upstream_attempts_total{upstream="local"} 12
waggle_upstream_failures_total{upstream="local",kind="connect"} 2
waggle_model_tokens_total{tenant="bank",model="gpt",direction="input"} 1000
waggle_model_tokens_total{tenant="bank",model="gpt",direction="output"} 100
waggle_model_cost_total{tenant="bank",model="gpt"} 1
waggle_answer_cache_hits_total 0
waggle_answer_cache_misses_total 0
waggle_kv_operations_total{store="default",operation="get",outcome="ok"} 10
waggle_kv_operations_total{store="default",operation="get",outcome="failed"} 0
"#;

const AFTER: &str = r#"
waggle_build_info{version="0.1.0"} 1
process_start_time_seconds 1700000000
process_cpu_seconds_total 13
process_resident_memory_bytes 128974848
process_open_fds 40
process_max_fds 1024
waggle_http_requests_total{tenant="bank",route="/v1/...",function="chat",status="2xx"} 118
waggle_http_requests_total{tenant="bank",route="/v1/...",function="chat",status="5xx"} 7
waggle_http_requests_total{tenant="shop",route="/v1/...",function="chat",status="2xx"} 80
waggle_http_requests_total{tenant="other",route="none",function="none",status="4xx"} 7
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="0.1"} 150
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="0.2"} 200
waggle_http_request_duration_seconds_bucket{route="/v1/...",function="chat",le="+Inf"} 205
waggle_http_requests_in_flight 12
waggle_connections 30
waggle_admission_refusals_total{reason="server_overloaded"} 5
waggle_admission_refusals_total{reason="invalid_api_key"} 11
waggle_fallbacks_total{reason="no_model"} 2
waggle_instances{function="chat"} 6
waggle_instances{function="flow"} 0
waggle_instance_waiting_requests{function="chat"} 4
waggle_instances_created_total{function="chat"} 7
waggle_instances_ended_total{function="chat",reason="retired"} 9
waggle_instances_ended_total{function="chat",reason="trapped"} 1
waggle_instance_start_duration_seconds_bucket{function="chat",le="0.0001"} 0
waggle_instance_start_duration_seconds_bucket{function="chat",le="0.0002"} 4
waggle_instance_start_duration_seconds_bucket{function="chat",le="+Inf"} 4
waggle_upstream_calls_total{upstream="local"} 30
waggle_upstream_attempts_total{upstream="local"} 52
waggle_upstream_retries_total{upstream="local"} 4
waggle_upstream_hedges_total{upstream="local"} 2
waggle_upstream_cut_total{upstream="local"} 1
waggle_upstream_refused_total{upstream="local",reason="busy"} 1
waggle_upstream_refused_total{upstream="local",reason="open"} 1
waggle_upstream_failures_total{upstream="local",kind="connect"} 11
waggle_upstream_breaker_state{upstream="local",endpoint="all"} 1
waggle_upstream_breaker_state{upstream="local",endpoint="0"} 2
waggle_upstream_breaker_state{upstream="local",endpoint="1"} 0
waggle_upstream_in_flight{upstream="local"} 3
waggle_upstream_limit{upstream="local"} 64
waggle_upstream_waiting{upstream="local"} 0
waggle_upstream_first_byte_seconds{upstream="local",answer="streamed",percentile="50"} 0.0075
waggle_upstream_first_byte_seconds{upstream="local",answer="streamed",percentile="99"} 0.048
waggle_upstream_first_byte_seconds{upstream="local",answer="whole",percentile="50"} 2
waggle_upstream_breaker_state{upstream="spare",endpoint="all"} 0
waggle_upstream_breaker_state{upstream="spare",endpoint="0"} 0
waggle_upstream_first_byte_seconds{upstream="spare",answer="whole",percentile="50"} 1.5
waggle_model_tokens_total{tenant="bank",model="gpt",direction="input"} 3000
waggle_model_tokens_total{tenant="bank",model="gpt",direction="cached_input"} 500
waggle_model_tokens_total{tenant="bank",model="gpt",direction="output"} 300
waggle_model_tokens_total{tenant="quiet",model="gpt",direction="input"} 0
waggle_model_cost_total{tenant="bank",model="gpt"} 1.01
waggle_answer_cache_hits_total 1
waggle_answer_cache_shared_total 2
waggle_answer_cache_misses_total 9
waggle_kv_operations_total{store="default",operation="get",outcome="ok"} 100
waggle_kv_operations_total{store="default",operation="get",outcome="failed"} 10
waggle_kv_operation_duration_seconds_bucket{store="default",operation="get",le="0.00001"} 100
waggle_kv_operation_duration_seconds_bucket{store="default",operation="get",le="+Inf"} 100
waggle_kv_sync_duration_seconds_bucket{store="default",le="0.001"} 8
waggle_kv_sync_duration_seconds_bucket{store="default",le="+Inf"} 8
waggle_kv_sync_duration_seconds_count{store="default"} 8
"#;

const TEXT: &str = "\
waggle 0.1.0 at http://127.0.0.1:9464, up 12m03s
requests  50/s  4xx 0%  5xx 2%  p50 50ms  p99 99ms  in flight 12  connections 30  refused 3/s (server_overloaded)
models    tokens in 1k/s  out 100/s  cost 18/h  answer cache 25%  fallbacks 1/s
process   memory 123MiB  CPU 150%  instances 6  files 40 of 1.02k

TENANT  REQ/S  4XX  5XX  TOKENS-IN/S  TOKENS-OUT/S  COST/H
shop       40   0%   0%            0             0       0
bank       10   0%  10%           1k           100      18
other       0    -    -            0             0       0
quiet       0    -    -            0             0       0

FUNCTION  REQ/S  4XX  5XX   P50   P99  INSTANCES  WAITING  STARTS/S  START-P99  CRASHES/S
chat         50   0%   2%  50ms  99ms          6        4         2      199us        0.5
flow          0    -    -     -     -          0        -         0          -          0
none          0    -    -     -     -          -        -         0          -          0

UPSTREAM    BREAKER  ENDPOINTS  CALLS/S  FAILED  REPEATS/S  REFUSED/S  IN-FLIGHT  LIMIT  WAITING  TTFB-P50  TTFB-P99
local     half-open        1/2       10     25%          3          1          3     64        0     7.5ms      48ms
spare        closed        1/1        0       -          0          0          -      -        -      1.5s         -

STORE    OPS/S  FAILED  P50    P99  SYNCS/S  SYNC-P99
default     50     10%  5us  9.9us        4     990us
";

#[test]
fn the_text_has_the_whole_and_a_table_of_each() {
    let [before, after] = scrapes();
    let view = View::between(&before, &after);
    let text = report::text(&view, &"127.0.0.1:9464".parse().unwrap());
    assert_eq!(text, TEXT);
}

fn options(address: impl std::fmt::Display) -> Options {
    Options { url: format!("http://{address}").parse(), interval_ms: INTERVAL_MS_MIN, once: true }
}

#[tokio::test]
async fn once_reads_a_real_listener_twice() {
    let metrics = Metrics::new();
    metrics.register(Box::new(ProcessSource::new(BuildInfo { version: "1.2.3", commit: "" })));
    let scrapes = std::sync::atomic::AtomicU64::new(0);
    metrics.register(Box::new(move |families: &mut Families| {
        let labels = [("tenant", "bank"), ("route", "/"), ("function", "chat"), ("status", "2xx")];
        let count = 1_000_000 * scrapes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        families.counter("waggle_http_requests_total", "Requests").add(&labels, count);
    }));
    let listener = bind(Listen::At("127.0.0.1:0".parse().unwrap())).await.unwrap().unwrap();
    let options = options(listener.local_addr().unwrap());
    let operations = Arc::new(Operations::new(Arc::new(metrics), Checks::new()));
    let server = tokio::spawn(serve(listener, operations, std::future::pending()));
    let text = once(&options).await.unwrap();
    server.abort();
    assert!(text.starts_with("waggle 1.2.3 at http://127.0.0.1:"), "{text}");
    let bank = text.lines().find(|line| line.starts_with("bank")).unwrap();
    let rate = bank.split_whitespace().nth(1).unwrap();
    assert!(rate.ends_with('M') || rate.ends_with('k'), "a million within an interval: {bank}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = once(&options(address)).await.unwrap_err();
    assert!(matches!(error, TopError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["nobody answers at http://127.0.0.1:", "`waggle up`", "--url"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Answers every connection with `answer` and closes it.
async fn answering(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_is_something_else_is_told_as_such() {
    async fn check(answer: &'static str, parts: &[&str]) {
        let text = once(&options(answering(answer).await)).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{answer:?}: {text}");
        assert!(!text.contains(['\n', '\u{1b}']), "{text:?}");
    }
    check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nup 1\n", &["does not tell", "waggle_build_info"])
        .await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", &["line 1", "is the URL right?"]).await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\u{7f}", &["does not tell metrics of Waggle"]).await;
    check("HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n<p>", &["answers 404 Not Found"]).await;
    check(
        "HTTP/1.1 421 Misdirected Request\r\nconnection: close\r\n\r\n{\"detail\":\"Only \\u001b[1m\\nloopback.\"}",
        &["answers 421 Misdirected Request: Only [1mloopback."],
    )
    .await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nup 1\n", &["broke off"]).await;
    check("SSH-2.0-x\r\n", &["broke off"]).await;
    check("", &["broke off"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = once(&options(listener.local_addr().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 5 s"), "{error}");
}
