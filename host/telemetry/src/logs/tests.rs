//! The export of logs against collectors that work, and against some that do not.

use super::*;
use crate::access_log::{AccessLog, AccessLogConfig, AccessRecord, Outcome};
use crate::log::readable;
use crate::metrics::Metrics;
use crate::otlp::testing::{Got, PATIENCE, Receiver, Reply, black_hole, count, until};
use crate::otlp::{BATCH_BYTES_MAX, Protocol};
use crate::testing::Captured;
use crate::{FunctionLog, LINE_BYTES_MAX, LineBudget, LogRequest, LogSource, LogStream};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::logs::v1::LogRecord as Received;
use prost::Message as _;
use std::time::{Instant, UNIX_EPOCH};
use tracing::subscriber::with_default;
use tracing::{debug, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use waggle_measure::trace::{Sampling, SpanKind, TraceId, Tracer};

fn understood(toml: &str, environment: &[(&str, &str)]) -> Result<Option<Settings>, String> {
    let config: LogsConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
    config.validate()?;
    let read = |name: &str| {
        environment.iter().find(|(present, _)| *present == name).map(|(_, value)| (*value).to_owned())
    };
    let process = Process::new("1.2.3", Some("bots"));
    resolve(&config, Path::new("/nowhere"), &process, &read).map_err(|error| error.to_string())
}

/// An export, and the log that it is of.
struct Started {
    logs: Logs,
    metrics: Arc<Metrics>,
    relay: Relay,
}

fn start(toml: &str) -> Started {
    let config: LogsConfig = toml::from_str(toml).unwrap();
    let settings = understood(toml, &[]).unwrap().unwrap();
    let logs = Logs::run(settings, config.level, Relay::new()).unwrap();
    let metrics = Metrics::new();
    metrics.register(logs.source());
    let relay = logs.relay.clone();
    Started { logs, metrics: Arc::new(metrics), relay }
}

impl Started {
    /// What is logged while `write` runs, by the log of a process with this filter.
    fn log(&self, filter: &str, write: impl FnOnce()) {
        let log = readable(EnvFilter::new(filter), false, Captured::default());
        with_default(log.with(self.relay.clone()), write);
    }

    async fn shut_down(self, patience: Duration) -> bool {
        tokio::task::spawn_blocking(move || self.logs.shutdown(patience)).await.unwrap()
    }
}

fn records_of(got: &Got) -> Vec<(String, Received)> {
    let request = ExportLogsServiceRequest::decode(got.message.clone()).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|one| one.scope_logs);
    let named = scopes.flat_map(|one| {
        let name = one.scope.unwrap().name;
        one.log_records.into_iter().map(move |record| (name.clone(), record))
    });
    named.collect()
}

fn records(receiver: &Receiver) -> Vec<(String, Received)> {
    receiver.got().iter().flat_map(records_of).collect()
}

fn body(record: &Received) -> &str {
    match record.body.as_ref().unwrap().value.as_ref().unwrap() {
        AnyKind::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn attributes(record: &Received) -> Vec<(&str, String)> {
    let shown = |value: &AnyKind| match value {
        AnyKind::StringValue(text) => text.clone(),
        AnyKind::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = record.attributes.iter();
    pairs.map(|pair| (&*pair.key, shown(pair.value.as_ref().unwrap().value.as_ref().unwrap()))).collect()
}

/// A line that a function prints for a request whose trace is recorded; the ids of that.
fn print_line() -> ([u8; 16], [u8; 8]) {
    struct Nowhere;
    impl waggle_measure::trace::SpanSink for Nowhere {
        fn accept(&self, _span: waggle_measure::trace::FinishedSpan) {}
    }
    let tracer = Tracer::new(Nowhere, Sampling { ratio: 1.0, follows_caller: true });
    let span = tracer.root("GET", SpanKind::Server, None);
    let context = span.context().unwrap().clone();
    let source = LogSource { tenant: "bank".into(), function: "chat".into(), instance: 7 };
    let log = FunctionLog::new(source, LogStream::Stderr, Arc::new(LineBudget::new(10)));
    let trace = Some((context.trace_id(), context.span_id()));
    log.set_request(Some(LogRequest { id: "r-1".into(), trace }));
    log.write(b"no luck\n");
    (context.trace_id().to_bytes(), context.span_id().to_bytes())
}

#[tokio::test]
async fn lines_of_functions_and_of_the_host_arrive_whole() {
    let check = async |protocol: &str, path: &str| {
        let receiver = Receiver::default();
        let address = receiver.start(&[], None).await;
        let started = start(&format!("endpoint = 'http://{address}'\nprotocol = '{protocol}'"));
        let mut ids = None;
        started.log("info", || {
            ids = Some(print_line());
            warn!(target: "admin", tenant = "bank", share = 0.5, big = u64::MAX, ok = true, "it is {}", "odd");
            debug!("not in the log of the process");
        });
        until("the records", || records(&receiver).len() == 2).await;
        let got = receiver.got().remove(0);
        assert_eq!(got.path, path);
        let request = ExportLogsServiceRequest::decode(got.message.clone()).unwrap();
        let resource = request.resource_logs[0].resource.as_ref().unwrap();
        let name = resource.attributes.iter().find(|one| one.key == "service.name").unwrap();
        assert_eq!(name.value.clone().unwrap().value.unwrap(), AnyKind::StringValue("bots".to_owned()));
        let found = records_of(&got);
        let [(of_function, line), (of_host, event)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((of_function.as_str(), of_host.as_str()), ("function", "admin"));
        assert_eq!((line.severity_number, line.severity_text.as_str(), body(line)), (9, "INFO", "no luck"));
        let expected = [
            ("waggle.tenant", "bank".to_owned()),
            ("waggle.function", "chat".to_owned()),
            ("waggle.instance", "7".to_owned()),
            ("waggle.request", "r-1".to_owned()),
            ("log.iostream", "stderr".to_owned()),
        ];
        assert_eq!(attributes(line), expected);
        let (trace, span) = ids.unwrap();
        assert_eq!((&line.trace_id[..], &line.span_id[..], line.flags), (&trace[..], &span[..], 1));
        assert_eq!(
            (event.severity_number, event.severity_text.as_str(), body(event)),
            (13, "WARN", "it is odd")
        );
        let expected = [
            ("waggle.tenant", "bank".to_owned()),
            ("share", "DoubleValue(0.5)".to_owned()),
            ("big", u64::MAX.to_string()),
            ("ok", "BoolValue(true)".to_owned()),
        ];
        assert_eq!(attributes(event), expected);
        assert!(event.trace_id.is_empty() && event.span_id.is_empty() && event.flags == 0);
        assert!(line.time_unix_nano > 0 && line.time_unix_nano <= event.time_unix_nano);
        let metrics = Arc::clone(&started.metrics);
        assert!(started.shut_down(PATIENCE).await);
        assert_eq!((count(&metrics, "sent"), count(&metrics, "queue_full")), (2, 0), "{protocol}");
    };
    tokio::join!(
        check("http/protobuf", "/v1/logs"),
        check("grpc", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    );
}

#[tokio::test]
async fn the_level_narrows_what_the_log_of_the_process_has() {
    let check = async |level: &str, filter: &str, expected: &[&str]| {
        let receiver = Receiver::default();
        let address = receiver.start(&[], None).await;
        let started = start(&format!("endpoint = 'http://{address}'\nlevel = '{level}'"));
        started.log(filter, || {
            debug!("a detail");
            info!("an event");
            warn!("a warning");
            info!(target: "function", line = "a line");
        });
        assert!(started.shut_down(PATIENCE).await);
        let found = records(&receiver);
        let found: Vec<_> = found.iter().map(|(_, record)| body(record).to_owned()).collect();
        assert_eq!(found.len(), expected.len(), "{level} {filter}: {found:?}");
        assert!(
            expected.iter().all(|line| found.iter().any(|one| one == line)),
            "{level} {filter}: {found:?}"
        );
    };
    check("info", "info", &["an event", "a warning", "a line"]).await;
    check("warn", "debug", &["a warning"]).await;
    check("debug", "debug", &["a detail", "an event", "a warning", "a line"]).await;
    check("debug", "info,function=off", &["an event", "a warning"]).await;
    check("error", "info", &[]).await;
}

#[tokio::test]
async fn what_the_export_itself_logs_is_not_exported() {
    let receiver = Receiver::default();
    let address = receiver.start(&[Reply::Status(400), Reply::Status(400)], None).await;
    let captured = Captured::default();
    // Room for what other tests log meanwhile.
    let started =
        start(&format!("endpoint = 'http://{address}'\nlevel = 'trace'\nqueue_records_max = 1000000"));
    // A log of all threads, for the thread that sends has no other; no other test here sets one.
    let log = readable(EnvFilter::new("trace"), false, captured.clone()).with(started.relay.clone());
    tracing::subscriber::set_global_default(log).unwrap();
    warn!(target: "admin", "one that counts");
    until("the refusal", || captured.text().contains("the collector takes no logs")).await;
    until("the end of it", || {
        warn!(target: "admin", "the next");
        captured.text().contains("the collector of logs takes records again")
    })
    .await;
    warn!(target: "admin", "the last");
    assert!(started.shut_down(PATIENCE).await);
    let exported = records(&receiver);
    let ours: Vec<_> = exported.iter().map(|(_, record)| body(record)).collect();
    for line in ["one that counts", "the next", "the last"] {
        assert!(ours.contains(&line), "{line}");
    }
    let of_export: Vec<_> = ours.iter().filter(|line| line.contains("the collector")).collect();
    assert!(of_export.is_empty(), "{of_export:?}");
}

#[tokio::test]
async fn a_dead_collector_holds_nobody_up() {
    let check = async |address: &str| {
        let started = start(&format!("endpoint = 'http://{address}'\nqueue_records_max = 1000"));
        let (metrics, relay) = (Arc::clone(&started.metrics), started.relay.clone());
        // Ten times what may wait: if logging waited for anything, this would not come to its end.
        started.log("info", || (0..10_000).for_each(|number| info!(number, "one of many")));
        assert!(count(&metrics, "queue_full") >= 10_000 - 1_000 - 1_024, "{address}");
        assert_eq!(count(&metrics, "sent"), 0);
        let began = Instant::now();
        // Whether it is over in time depends on how the collector is dead; that the wait is bounded does not.
        let _ = started.shut_down(Duration::from_millis(100)).await;
        assert!(began.elapsed() < PATIENCE);
        let before = count(&metrics, "queue_full");
        let log = readable(EnvFilter::new("info"), false, Captured::default()).with(relay);
        with_default(log, || info!("after the end"));
        assert_eq!(count(&metrics, "queue_full"), before, "it is not the export's any more");
    };
    let (address, _task) = black_hole().await;
    check(&address).await;
    // A port that was free a moment ago: nobody listens.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(&closed.to_string()).await;
}

#[tokio::test]
async fn the_access_log_goes_the_same_way() {
    let receiver = Receiver::default();
    let address = receiver.start(&[], None).await;
    let started = start(&format!("endpoint = 'http://{address}'\nlevel = 'error'"));
    let config = AccessLogConfig { output: "otlp".to_owned(), ..AccessLogConfig::default() };
    let (log, writer) = AccessLog::run(&config, Path::new("/"), started.relay.clone()).unwrap();
    let (trace, request) = (TraceId::random(), "r-1".into());
    log.log(AccessRecord {
        time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
        request,
        client: Some("192.0.2.7".parse().unwrap()),
        tenant: Some("bank".into()),
        method: http::Method::POST,
        path: "/v1/responses".into(),
        version: "1.1",
        route: Some("/v1/...".into()),
        function: None,
        status: 503,
        outcome: Outcome::Broken,
        request_bytes: 310,
        response_bytes: 1_200,
        head: Duration::from_micros(1_500),
        duration: Duration::from_micros(2_500),
        trace: Some(trace),
    });
    let source = writer.as_ref().unwrap().source();
    assert!(writer.unwrap().shutdown(PATIENCE));
    assert!(started.shut_down(PATIENCE).await);
    let found = records(&receiver);
    let [(target, record)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((target.as_str(), body(record)), ("access_log", "POST /v1/responses 503"));
    assert_eq!((record.time_unix_nano, record.severity_number), (1_767_323_045_678_000_000, 9));
    assert_eq!((&record.trace_id[..], record.flags), (&trace.to_bytes()[..], 0));
    let expected = [
        ("waggle.request", "r-1"),
        ("http.request.method", "POST"),
        ("url.path", "/v1/responses"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "503"),
        ("waggle.outcome", "broken"),
        ("http.request.body.size", "310"),
        ("http.response.body.size", "1200"),
        ("waggle.head_ms", "DoubleValue(1.5)"),
        ("waggle.duration_ms", "DoubleValue(2.5)"),
        ("waggle.tenant", "bank"),
        ("http.route", "/v1/..."),
        ("client.address", "192.0.2.7"),
    ];
    assert_eq!(attributes(record), expected.map(|(name, value)| (name, value.to_owned())));
    let metrics = Metrics::new();
    metrics.register(source);
    assert_eq!((count(&metrics, "written"), count(&metrics, "dropped")), (1, 0));
}

#[tokio::test]
async fn what_the_collector_refuses_is_counted() {
    let receiver = Receiver::default();
    let address = receiver.start(&[Reply::Rejected(2)], None).await;
    let started = start(&format!("endpoint = 'http://{address}'"));
    let metrics = Arc::clone(&started.metrics);
    started.log("info", || (0..3).for_each(|_| info!("one of three")));
    assert!(started.shut_down(PATIENCE).await);
    assert_eq!((count(&metrics, "sent"), count(&metrics, "rejected")), (1, 2));
}

#[tokio::test]
async fn long_records_are_cut_and_batches_stay_below_what_collectors_take() {
    let receiver = Receiver::default();
    let address = receiver.start(&[], None).await;
    let started = start(&format!("endpoint = 'http://{address}'"));
    let long = "ä".repeat(LINE_BYTES_MAX);
    let many = 3 * BATCH_BYTES_MAX / LINE_BYTES_MAX;
    started.log("info", || {
        info!(detail = long.as_str(), shown = ?long, "{long}");
        (0..many).for_each(|_| info!(target: "function", line = long.as_str()));
    });
    assert!(started.shut_down(PATIENCE).await);
    let found = records(&receiver);
    assert_eq!(found.len(), many + 1);
    let (_, first) = &found[0];
    assert!((LINE_BYTES_MAX..LINE_BYTES_MAX + 100).contains(&body(first).len()), "{}", body(first).len());
    assert!(attributes(first).iter().all(|(_, text)| (1_000..=1_024).contains(&text.len())));
    let sizes: Vec<_> = receiver.got().iter().map(|got| got.message.len()).collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size <= BATCH_BYTES_MAX + 64 * 1_024), "{sizes:?}");
}

#[test]
fn the_configuration_goes_before_the_environment_and_logs_before_all_signals() {
    let check = |toml: &str, environment: &[(&str, &str)], expected: Option<&str>| {
        let found = understood(toml, environment).unwrap().map(|settings| settings.endpoint.to_string());
        assert_eq!(found.as_deref(), expected, "{toml} {environment:?}");
    };
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/x/");
    let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:2/y");
    check("", &[], None);
    check("", &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:3")], None);
    check("", &[all], Some("http://all:1/x/v1/logs"));
    check("", &[all, logs], Some("http://logs:2/y"));
    check("", &[all, ("OTEL_LOGS_EXPORTER", "none")], None);
    check("", &[all, ("OTEL_TRACES_EXPORTER", "none")], Some("http://all:1/x/v1/logs"));
    check("", &[all, ("OTEL_SDK_DISABLED", "true")], None);
    check("endpoint = 'off'", &[all, logs], None);
    check("endpoint = 'http://here:4'", &[all, logs], Some("http://here:4/v1/logs"));
    let settings = understood(
        "",
        &[
            all,
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "70"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "80"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "17"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "18"),
        ],
    );
    let settings = settings.unwrap().unwrap();
    assert_eq!((settings.protocol, settings.queue_records_max), (Protocol::Grpc, 17));
    assert_eq!(settings.timeout, Duration::from_millis(70));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |toml: &str, environment: &[(&str, &str)], part: &str| {
        let error = understood(toml, environment).err().unwrap_or_else(|| panic!("{toml} {environment:?}"));
        assert!(error.contains(part), "{part} in {error}");
    };
    check("endpont = 'x'", &[], "unknown field `endpont`");
    check("endpoint = 'collector'", &[], "the endpoint of logs, from `endpoint` in [telemetry.logs]");
    check("level = 'loud'", &[], "unknown variant `loud`");
    check("queue_records_max = 0", &[], "`logs.queue_records_max` is 0; it must be from 1 to 1000000");
    check("timeout_ms = 600001", &[], "`logs.timeout_ms` is 600001");
    check("headers_environment = 'A'\nheaders_file = 'b'", &[], "`logs.headers_file` are both given");
}
