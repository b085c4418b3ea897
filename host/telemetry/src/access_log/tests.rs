//! The access log, to a file.

use super::*;
use crate::metrics::{Format, Metrics};
use serde_json::{Value, json};
use std::fs;
use std::time::UNIX_EPOCH;

const PATIENCE: Duration = Duration::from_secs(20);

fn record() -> AccessRecord {
    AccessRecord {
        time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
        request: "r-1".into(),
        client: Some("192.0.2.7".parse().unwrap()),
        tenant: Some("bank".into()),
        method: Method::POST,
        path: "/v1/responses".into(),
        version: "1.1",
        route: Some("/v1/...".into()),
        function: Some("chat".into()),
        status: 200,
        outcome: Outcome::Complete,
        request_bytes: 310,
        response_bytes: 1_200,
        head: Duration::from_nanos(1_250_999),
        duration: Duration::from_micros(843_070),
        trace: None,
    }
}

/// What is in the file after these were logged.
fn logged(format: AccessLogFormat, records: Vec<AccessRecord>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = AccessLogConfig { output: "access.log".to_owned(), format, ..AccessLogConfig::default() };
    let (log, writer) = AccessLog::start(&config, folder.path()).unwrap();
    records.into_iter().for_each(|record| log.log(record));
    assert!(writer.expect("it is on").shutdown(PATIENCE));
    fs::read_to_string(folder.path().join("access.log")).unwrap()
}

#[test]
fn a_request_is_a_line_of_json() {
    let text = logged(AccessLogFormat::Json, vec![record(), AccessRecord { status: 503, ..record() }]);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "time": "2026-01-02T03:04:05.678Z", "request": "r-1", "client": "192.0.2.7", "tenant": "bank",
        "method": "POST", "path": "/v1/responses", "version": "1.1", "route": "/v1/...", "function": "chat",
        "status": 200, "outcome": "complete", "request_bytes": 310, "response_bytes": 1200,
        "head_ms": 1.25, "duration_ms": 843.07, "trace": null,
    });
    assert_eq!(lines[0], expected);
    assert_eq!((lines.len(), &lines[1]["status"]), (2, &json!(503)));
}

#[test]
fn a_request_is_a_line_for_people() {
    let check = |record: AccessRecord, expected: &str| {
        assert_eq!(logged(AccessLogFormat::Readable, vec![record]), format!("{expected}\n"));
    };
    check(
        record(),
        "2026-01-02T03:04:05.678Z 200 843.070ms POST \"/v1/responses\" tenant=bank function=chat client=192.0.2.7 \
         request=r-1 bytes=310/1200 head=1.250ms",
    );
    check(
        AccessRecord { tenant: None, function: None, client: None, outcome: Outcome::Cancelled, ..record() },
        "2026-01-02T03:04:05.678Z 200 843.070ms POST \"/v1/responses\" request=r-1 bytes=310/1200 head=1.250ms \
         outcome=cancelled",
    );
}

#[test]
fn a_path_cannot_forge_a_line_or_a_field() {
    for path in ["/a\n{\"tenant\":\"victim\"}", "/\" tenant=victim \"", "/\u{1b}[2K\\", "/ü\u{2028}"] {
        let forged = AccessRecord { path: path.into(), ..record() };
        let text = logged(AccessLogFormat::Json, vec![forged.clone()]);
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["path"], path);
        let text = logged(AccessLogFormat::Readable, vec![forged]);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains(" tenant=victim ") || text.contains("\\\" tenant=victim \\\""), "{text}");
    }
    assert_eq!(AccessRecord::path_of(&"ü".repeat(PATH_BYTES_MAX)).len(), PATH_BYTES_MAX);
}

#[test]
fn lines_without_room_are_counted_and_told() {
    let (records, waiting) = sync_channel(3);
    let counts = Arc::new(Counts::default());
    let log = AccessLog(Some(Arc::new(Shared { records, counts: Arc::clone(&counts) })));
    (0..10).for_each(|_| log.log(record()));
    assert_eq!(counts.dropped.get(), 7);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let output = Output::File { path: path.clone(), bytes_max: 1 << 20, files_max: 1 };
    counts.is_closed.store(true, Ordering::Relaxed);
    Writer::new(output, AccessLogFormat::Json, waiting, Arc::clone(&counts)).run();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.ends_with(",\"dropped\":7}\n"), "{text}");
    log.log(record());
    assert_eq!((counts.written.get(), counts.dropped.get()), (3, 8), "nothing is taken after the end");
}

#[test]
fn it_is_off_unless_it_is_wanted_and_says_what_is_wrong() {
    let (log, writer) = AccessLog::start(&AccessLogConfig::default(), Path::new("/")).unwrap();
    assert!(!log.is_on() && writer.is_none());
    log.log(record());
    let missing = AccessLogConfig { output: "no/such/folder/x".to_owned(), ..AccessLogConfig::default() };
    let error = AccessLog::start(&missing, Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder/x"), "{error}");
    let check = |text: &str, part: &str| {
        let config = toml::from_str::<AccessLogConfig>(text).map_err(|error| error.to_string());
        let error = config.and_then(|config| config.validate()).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    };
    check("outputs = 'x'", "unknown field `outputs`");
    check("format = 'xml'", "unknown variant `xml`");
    check("output = ''", "`access_log.output` is empty");
    check("file_bytes_max = 1", "from 1 MiB to 1 TiB");
    check("files_max = 0", "from 1 to 1000");
}

#[test]
fn what_is_written_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let config = AccessLogConfig { output: "a".to_owned(), ..AccessLogConfig::default() };
    let (log, writer) = AccessLog::start(&config, folder.path()).unwrap();
    let writer = writer.unwrap();
    let metrics = Metrics::new();
    metrics.register(writer.source());
    log.log(record());
    assert!(writer.shutdown(PATIENCE));
    let text = metrics.render(Format::PrometheusText).text;
    assert!(text.contains("waggle_access_log_lines_total{outcome=\"written\"} 1\n"), "{text}");
}
