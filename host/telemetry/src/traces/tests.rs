//! The export against collectors that work, and against all kinds that do not.

use super::*;
use crate::metrics::{Format, Metrics};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::trace::v1::Span as Received;
use prost::Message as _;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use waggle_measure::trace::{SpanContext, SpanKind, attribute};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a collector got.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    headers: HeaderMap,
    request: ExportTraceServiceRequest,
}

impl Got {
    fn spans(&self) -> Vec<Received> {
        let resources = self.request.resource_spans.iter();
        resources.flat_map(|one| &one.scope_spans).flat_map(|one| one.spans.clone()).collect()
    }
}

/// What a collector answers: a status of HTTP or gRPC, or how many spans it rejects.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Status(u16),
    Rejected(i64),
    /// It closes the connection.
    Nothing,
}

#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<VecDeque<Reply>>>,
}

impl Receiver {
    /// Listens and answers by `script`, then with success. Returns its address.
    async fn start(&self, script: &[Reply], tls: Option<TlsAcceptor>) -> String {
        *self.script.lock().unwrap() = script.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (receiver, tls) = (receiver.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let receiver = receiver.clone();
                        async move { receiver.answer(request).await }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A connection that ends badly is what some tests want.
                    let _ = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => return,
                        },
                        None => server.serve_connection(TokioIo::new(stream), service).await,
                    };
                });
            }
        });
        address.to_string()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, std::io::Error> {
        let is_grpc = request.headers()["content-type"] == "application/grpc";
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let message = if is_grpc {
            assert_eq!(body[0], 0, "not compressed");
            assert_eq!(
                usize::try_from(u32::from_be_bytes(body[1..5].try_into().unwrap())).unwrap(),
                body.len() - 5
            );
            body.slice(5..)
        } else {
            body
        };
        let request = ExportTraceServiceRequest::decode(message).unwrap();
        self.got.lock().unwrap().push(Got {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            request,
        });
        let reply = self.script.lock().unwrap().pop_front().unwrap_or(Reply::Rejected(0));
        let rejected_spans = match reply {
            Reply::Nothing => return Err(std::io::Error::other("gone")),
            Reply::Rejected(spans) => spans,
            Reply::Status(_) => 0,
        };
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans, ..Default::default() });
        let message = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let mut response = Response::builder();
        if is_grpc {
            let code = if let Reply::Status(code) = reply { code } else { 0 };
            let trailer = (HeaderName::from_static("grpc-status"), HeaderValue::from(code));
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            framed.extend(message);
            let body = Full::new(Bytes::from(framed))
                .with_trailers(async { Some(Ok([trailer].into_iter().collect())) });
            return Ok(response.header("content-type", "application/grpc").body(body.boxed()).unwrap());
        }
        if let Reply::Status(status) = reply {
            response = response.status(status);
        }
        Ok(response.body(Full::new(Bytes::from(message)).boxed()).unwrap())
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Received> {
        self.got().iter().flat_map(Got::spans).collect()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn start(toml: &str) -> (Tracer, Traces) {
    let config: TracesConfig = toml::from_str(toml).unwrap();
    let settings = Settings::resolve(&config, Path::new("/"), "1.2.3", &|_| None).unwrap().unwrap();
    Traces::run(settings).unwrap()
}

fn count(metrics: &Metrics, outcome: &str) -> u64 {
    let text = metrics.render(Format::PrometheusText).text;
    let line = text.lines().find(|line| line.contains(&format!("outcome=\"{outcome}\""))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
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
    let spans = got.spans();
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
    let resource = got.request.resource_spans[0].resource.as_ref().unwrap();
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
    until("the turn", || receiver.spans().len() == 2).await;
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
    until("the turn", || receiver.spans().len() == 2).await;
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

/// A collector that takes connections and never says anything.
async fn black_hole() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream);
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_dead_collector_holds_nobody_up() {
    let check = async |address: &str| {
        let (tracer, traces) = start(&format!("endpoint = 'http://{address}'\nqueue_spans_max = 1000"));
        let metrics = metrics(&traces);
        // Ten times what may wait: if ending a span waited for anything, this would not come to its end.
        end_spans(&tracer, 10_000);
        assert!(count(&metrics, "queue_full") >= 10_000 - 1_000 - 2 * queue::BATCH_SPANS_MAX as u64);
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
    assert_eq!(receiver.spans().len(), 3_000);
    assert!(receiver.got().iter().all(|got| got.spans().len() <= queue::BATCH_SPANS_MAX));
}
