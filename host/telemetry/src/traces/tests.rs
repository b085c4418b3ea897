//! The export of traces against collectors that work, and against all kinds that do not.

use super::*;
use crate::metrics::Metrics;
use crate::otlp::BATCH_RECORDS_MAX;
use crate::otlp::testing::{Got, PATIENCE, Receiver, Reply, black_hole, count, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::trace::v1::Span as Received;
use prost::Message as _;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use waggle_measure::trace::{SpanContext, SpanKind, attribute};

fn request(got: &Got) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(got.message.clone()).unwrap()
}

fn spans_of(got: &Got) -> Vec<Received> {
    let resources = request(got).resource_spans;
    resources.into_iter().flat_map(|one| one.scope_spans).flat_map(|one| one.spans).collect()
}

fn spans(receiver: &Receiver) -> Vec<Received> {
    receiver.got().iter().flat_map(spans_of).collect()
}

fn start(toml: &str) -> (Tracer, Traces) {
    let config: TracesConfig = toml::from_str(toml).unwrap();
    let process = Process::new("1.2.3", config.service_name.as_deref());
    let (settings, sampling) = resolve(&config, Path::new("/"), &process, &|_| None).unwrap().unwrap();
    Traces::run(settings, sampling).unwrap()
}

fn metrics(traces: &Traces) -> Metrics {
    let metrics = Metrics::new();
    metrics.register(traces.source());
    metrics
}

async fn shut_down(traces: Traces, patience: Duration) -> bool {
    tokio::task::spawn_blocking(move || traces.shutdown(patience)).await.unwrap()
}

fn end_spans(tracer: &Tracer, count: usize) {
    (0..count).for_each(|_| tracer.root("GET", SpanKind::Server, None).end());
}

/// One turn: a request, and within it a call of a model that fails.
fn turn(tracer: &Tracer) {
    let caller = SpanContext::from_fields(
        [&b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..]],
        [&b"vendor=1"[..]],
    );
    let root = tracer.root("POST /v1/responses", SpanKind::Server, caller);
    let mut call = root.child("chat gpt-5", SpanKind::Client);
    call.set(attribute::GEN_AI_OPERATION_NAME, attribute::operation::CHAT);
    call.set(attribute::GEN_AI_USAGE_INPUT_TOKENS, 42_u64);
    call.set("gen_ai.request.temperature", 0.5);
    call.set(attribute::GEN_AI_REQUEST_STREAM, true);
    call.event("first_byte");
    call.fail("timeout");
}

fn check_turn(got: &Got) {
    let spans = spans_of(got);
    let [call, root] = &spans[..] else { panic!("two spans: {spans:?}") };
    assert_eq!((call.name.as_str(), root.name.as_str()), ("chat gpt-5", "POST /v1/responses"));
    assert_eq!(root.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(root.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!((&call.trace_id, &call.parent_span_id), (&root.trace_id, &root.span_id));
    assert_eq!((root.trace_state.as_str(), call.trace_state.as_str()), ("vendor=1", "vendor=1"));
    assert_eq!((root.kind, call.kind), (2, 3), "server and client");
    assert_eq!((root.flags, call.flags), (0x301, 0x101));
    assert!(root.start_time_unix_nano <= call.start_time_unix_nano);
    assert!(call.end_time_unix_nano >= call.events[0].time_unix_nano);
    assert_eq!(call.events[0].name, "first_byte");
    let status = call.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "timeout"));
    assert_eq!(root.status, None);
    let value = |name: &str| {
        let found = call.attributes.iter().find(|one| one.key == name).unwrap_or_else(|| panic!("{name}"));
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("gen_ai.operation.name"), AnyKind::StringValue("chat".to_owned()));
    assert_eq!(value("gen_ai.usage.input_tokens"), AnyKind::IntValue(42));
    assert_eq!(value("gen_ai.request.temperature"), AnyKind::DoubleValue(0.5));
    assert_eq!(value("gen_ai.request.stream"), AnyKind::BoolValue(true));
    let request = request(got);
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let name = resource.attributes.iter().find(|one| one.key == "service.name").unwrap();
    assert_eq!(name.value.clone().unwrap().value.unwrap(), AnyKind::StringValue("bots".to_owned()));
}

#[tokio::test]
async fn a_turn_arrives_whole_over_http() {
    let receiver = Receiver::default();
    let address = receiver.start(&[], None).await;
    let folder = tempfile::tempdir().unwrap();
    let fields = folder.path().join("fields");
    std::fs::write(&fields, "api-key=k%201").unwrap();
    let (tracer, traces) = start(&format!(
        "endpoint = 'http://{address}/base'\nservice_name = 'bots'\nheaders_file = {fields:?}"
    ));
    turn(&tracer);
    until("the turn", || spans(&receiver).len() == 2).await;
    let got = receiver.got().remove(0);
    check_turn(&got);
    assert_eq!(got.path, "/base/v1/traces");
    assert_eq!(got.headers["content-type"], "application/x-protobuf");
    assert_eq!(got.headers["api-key"], "k 1");
    assert_eq!(got.headers["host"], address);
    let metrics = metrics(&traces);
    until("the count", || count(&metrics, "sent") == 2).await;
    assert!(shut_down(traces, PATIENCE).await);
}

#[tokio::test]
async fn a_turn_arrives_whole_over_grpc() {
    let receiver = Receiver::default();
    let address = receiver.start(&[], None).await;
    let (tracer, traces) =
        start(&format!("endpoint = 'http://{address}'\nservice_name = 'bots'\nprotocol = 'grpc'"));
    let metrics = metrics(&traces);
    turn(&tracer);
    until("the turn", || spans(&receiver).len() == 2).await;
    let got = receiver.got().remove(0);
    check_turn(&got);
    assert_eq!(got.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(got.headers["te"], "trailers");
    until("the count", || count(&metrics, "sent") == 2).await;
    turn(&tracer);
    assert!(shut_down(traces, PATIENCE).await, "the connection is used again");
    assert_eq!(count(&metrics, "sent"), 4);
}

#[tokio::test]
async fn a_turn_arrives_whole_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Arc::new(server);
    for protocol in ["http/protobuf", "grpc"] {
        let receiver = Receiver::default();
        let address = receiver.start(&[], Some(TlsAcceptor::from(Arc::clone(&server)))).await;
        let port = address.rsplit(':').next().unwrap();
        let (tracer, traces) = start(&format!(
            "endpoint = 'https://localhost:{port}'\nprotocol = '{protocol}'\nservice_name = 'bots'\n\
             certificate_file = {roots:?}"
        ));
        turn(&tracer);
        assert!(shut_down(traces, PATIENCE).await);
        check_turn(receiver.got().first().unwrap_or_else(|| panic!("{protocol}: it arrives")));
    }
}

#[tokio::test]
async fn what_the_collector_refuses_for_now_is_sent_again() {
    let check = async |protocol: &str, script: &[Reply]| {
        let receiver = Receiver::default();
        let address = receiver.start(script, None).await;
        let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\nprotocol = '{protocol}'"));
        let metrics = metrics(&traces);
        end_spans(&tracer, 3);
        until("the spans", || count(&metrics, "sent") == 3).await;
        assert_eq!(receiver.got().len(), script.len() + 1, "{protocol} {script:?}");
        assert_eq!(count(&metrics, "undelivered"), 0);
    };
    tokio::join!(
        check("http/protobuf", &[Reply::Status(503)]),
        check("http/protobuf", &[Reply::Nothing]),
        check("grpc", &[Reply::Status(14)]),
    );
}

#[tokio::test]
async fn what_the_collector_refuses_for_good_is_given_up_and_counted() {
    let check = async |protocol: &str, reply: Reply, undelivered: u64, rejected: u64| {
        let receiver = Receiver::default();
        let address = receiver.start(&[reply], None).await;
        let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\nprotocol = '{protocol}'"));
        let metrics = metrics(&traces);
        end_spans(&tracer, 3);
        until("the refusal", || count(&metrics, "undelivered") + count(&metrics, "rejected") > 0).await;
        assert_eq!(
            (count(&metrics, "undelivered"), count(&metrics, "rejected")),
            (undelivered, rejected),
            "{reply:?}"
        );
        assert_eq!(receiver.got().len(), 1, "{protocol} {reply:?}");
        end_spans(&tracer, 2);
        until("those that come later", || count(&metrics, "sent") == 5 - undelivered - rejected).await;
    };
    tokio::join!(
        check("http/protobuf", Reply::Status(400), 3, 0),
        check("http/protobuf", Reply::Rejected(2), 0, 2),
        check("grpc", Reply::Status(3), 3, 0),
        check("grpc", Reply::Rejected(1), 0, 1),
    );
}

#[tokio::test]
async fn a_dead_collector_holds_nobody_up() {
    let check = async |address: &str| {
        let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\nqueue_spans_max = 1000"));
        let metrics = metrics(&traces);
        // Ten times what may wait: if ending a span waited for anything, this would not come to its end.
        end_spans(&tracer, 10_000);
        assert!(count(&metrics, "queue_full") >= 10_000 - 1_000 - 2 * BATCH_RECORDS_MAX as u64);
        assert_eq!(count(&metrics, "sent"), 0);
        let began = Instant::now();
        // Whether it is over in time depends on how the collector is dead; that the wait is bounded does not.
        let _ = shut_down(traces, Duration::from_millis(100)).await;
        assert!(began.elapsed() < PATIENCE);
        end_spans(&tracer, 10_000);
    };
    let (address, _task) = black_hole().await;
    check(&address).await;
    // A port that was free a moment ago: nobody listens.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    check(&refusing).await;
}

#[tokio::test]
async fn a_collector_that_hangs_is_given_up_after_the_time_of_an_attempt() {
    let (address, _task) = black_hole().await;
    let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\ntimeout_ms = 20"));
    let metrics = metrics(&traces);
    end_spans(&tracer, 5);
    assert!(shut_down(traces, PATIENCE).await, "it ends by itself");
    assert_eq!(count(&metrics, "undelivered"), 5);
}

#[tokio::test]
async fn the_end_sends_all_that_waits() {
    let receiver = Receiver::default();
    let address = receiver.start(&[], None).await;
    let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\nqueue_spans_max = 5000"));
    end_spans(&tracer, 3_000);
    assert!(shut_down(traces, PATIENCE).await);
    assert_eq!(spans(&receiver).len(), 3_000);
    assert!(receiver.got().iter().all(|got| spans_of(got).len() <= BATCH_RECORDS_MAX));
}
