//! The text that a scraper reads.

use super::*;
use std::time::Duration;
use waggle_measure::Histogram;

fn metrics() -> Metrics {
    let metrics = Metrics::new();
    metrics.register(Box::new(|families: &mut Families| {
        families
            .counter("waggle_http_requests_total", "Requests")
            .add(&[("tenant", "bank"), ("status", "2xx")], 7_u64)
            .add(&[("tenant", "a\"b\\c\nd"), ("status", "5xx")], 1_u64);
        families.gauge("waggle_http_requests_in_flight", "Requests under way").add(&[], 3_i64);
    }));
    metrics.register(Box::new(|families: &mut Families| {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(150));
        histogram.observe(Duration::from_secs(90));
        families
            .histogram("waggle_http_request_duration_seconds", "From the head to the end")
            .add(&[("route", "/v1/...")], histogram.snapshot());
        families.info("waggle_build_info", "The program").add(&[("version", "0.1.0")]);
        families.counter("waggle_model_cost_total", "Cost").add(&[], 0.25_f64);
    }));
    metrics
}

fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn open_metrics_names_families_without_their_suffix_and_ends_with_a_mark() {
    let rendered = metrics().render(Format::OpenMetrics);
    let text = &rendered.text;
    assert_eq!(
        lines_with(text, "waggle_http_requests_total"),
        [
            r#"waggle_http_requests_total{tenant="a\"b\\c\nd",status="5xx"} 1"#,
            r#"waggle_http_requests_total{tenant="bank",status="2xx"} 7"#,
        ]
    );
    assert_eq!(
        lines_with(text, "duration_seconds "),
        [
            "# HELP waggle_http_request_duration_seconds From the head to the end",
            "# TYPE waggle_http_request_duration_seconds histogram",
            "# UNIT waggle_http_request_duration_seconds seconds",
        ]
    );
    for line in
        ["# TYPE waggle_http_requests counter", "# TYPE waggle_build info", "waggle_model_cost_total 0.25"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(rendered.content_type.starts_with("application/openmetrics-text; version=1.0.0"));
}

#[test]
fn prometheus_text_names_families_as_their_series() {
    let text = metrics().render(Format::PrometheusText).text;
    let expected = [
        "# HELP waggle_http_requests_total Requests",
        "# TYPE waggle_http_requests_total counter",
        "# TYPE waggle_build_info gauge",
        r#"waggle_build_info{version="0.1.0"} 1"#,
        "waggle_http_requests_in_flight 3",
        "# TYPE waggle_http_request_duration_seconds histogram",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
}

#[test]
fn a_histogram_is_cumulative_and_ends_with_infinity() {
    let text = metrics().render(Format::PrometheusText).text;
    let buckets = lines_with(&text, "_seconds_bucket");
    assert_eq!(buckets.len(), 25);
    assert!(buckets[0].ends_with(r#"{le="0.0001",route="/v1/..."} 0"#), "{}", buckets[0]);
    assert!(buckets[1].contains(r#"le="0.0002""#) && buckets[1].ends_with(" 1"), "{}", buckets[1]);
    assert!(buckets[23].contains(r#"le="60.0""#) && buckets[23].ends_with(" 1"), "{}", buckets[23]);
    assert!(buckets[24].contains(r#"le="+Inf""#) && buckets[24].ends_with(" 2"), "{}", buckets[24]);
    assert_eq!(
        lines_with(&text, "_seconds_count"),
        [r#"waggle_http_request_duration_seconds_count{route="/v1/..."} 2"#]
    );
}

#[test]
fn a_family_of_several_sources_is_written_once_and_added_up() {
    let metrics = metrics();
    metrics.register(Box::new(|families: &mut Families| {
        families
            .counter("waggle_http_requests_total", "Requests")
            .add(&[("tenant", "bank"), ("status", "2xx")], 5_u64)
            .add(&[("tenant", "shop"), ("status", "2xx")], 2_u64);
    }));
    let text = metrics.render(Format::PrometheusText).text;
    assert_eq!(lines_with(&text, "TYPE waggle_http_requests_total").len(), 1);
    assert_eq!(
        lines_with(&text, "tenant=\"bank\""),
        [r#"waggle_http_requests_total{tenant="bank",status="2xx"} 12"#]
    );
    assert_eq!(lines_with(&text, "tenant=\"shop\"").len(), 1);
}

#[test]
fn series_beyond_the_bound_are_left_out_and_counted() {
    let metrics = Metrics::new();
    metrics.register(Box::new(|families: &mut Families| {
        let mut series = families.counter("waggle_many_total", "Many");
        for number in 0..SERIES_MAX + 5 {
            series.add(&[("number", &number.to_string())], 1_u64);
        }
    }));
    let text = metrics.render(Format::PrometheusText).text;
    assert_eq!(lines_with(&text, "waggle_many_total{").len(), SERIES_MAX);
    assert!(metrics.gather().left_out() == 5);
}

#[test]
fn the_format_is_what_the_client_asks_for() {
    let check = |accept, expected| assert_eq!(Format::negotiate(accept), expected, "{accept:?}");
    check(None, Format::PrometheusText);
    check(Some(""), Format::PrometheusText);
    check(Some("*/*"), Format::PrometheusText);
    check(Some("text/html,application/xhtml+xml,*/*;q=0.8"), Format::PrometheusText);
    check(Some("application/json"), Format::PrometheusText);
    check(Some("application/openmetrics-text"), Format::OpenMetrics);
    check(Some("Application/OpenMetrics-Text; Version=1.0.0"), Format::OpenMetrics);
    check(Some("application/openmetrics-text; version=2.0.0"), Format::PrometheusText);
    check(Some("application/openmetrics-text;q=0"), Format::PrometheusText);
    check(Some("text/plain;version=0.0.4, application/openmetrics-text;q=0.5"), Format::PrometheusText);
    check(Some("application/openmetrics-text;q=high"), Format::PrometheusText);
    // Prometheus 2.42 and 3.
    check(
        Some(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        ),
        Format::OpenMetrics,
    );
    check(
        Some(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ),
        Format::OpenMetrics,
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_tells_what_it_takes() {
    let metrics = Metrics::new();
    metrics.register(Box::new(ProcessSource::new(BuildInfo { version: "1.2.3", commit: "abc" })));
    let text = metrics.render(Format::PrometheusText).text;
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
            .unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
    assert!(value("process_threads") >= 1.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!(started <= now + 2.0 && started > now - 86_400.0, "{started} {now}");
    assert!(text.contains(r#"waggle_build_info{version="1.2.3",commit="abc"} 1"#), "{text}");
}
