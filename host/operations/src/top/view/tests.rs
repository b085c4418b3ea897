//! What is made of two scrapes; the numbers of a whole host are in the golden text of `top/tests.rs`.

use super::*;
use crate::top::tests::{reading, scrapes};

fn between(before: &str, after: &str, interval_ms: u64) -> View {
    let begin = Instant::now();
    View::between(&reading(before, begin, 0), &reading(after, begin, interval_ms))
}

#[test]
fn a_host_that_tells_nothing_has_an_empty_view() {
    let view = between("", "", 1_000);
    assert_eq!(view, View::default());
}

#[test]
fn rates_are_per_second_of_the_time_between_the_scrapes() {
    let check = |before: &str, after: &str, interval_ms: u64, expected: f64| {
        let rate = between(before, after, interval_ms).host.requests.rate;
        assert!((rate - expected).abs() < 1e-9, "{before} {after} {interval_ms}: {rate}");
    };
    const ONE: &str = "waggle_http_requests_total 1";
    const NINE: &str = "waggle_http_requests_total 9";
    check(ONE, NINE, 1_000, 8.0);
    check(ONE, NINE, 4_000, 2.0);
    check(ONE, ONE, 1_000, 0.0);
    check("", NINE, 1_000, 9.0);
    check(NINE, "", 1_000, 0.0);
    // Lower than before: it began anew.
    check(NINE, ONE, 1_000, 1.0);
    check(ONE, NINE, 0, 8_000.0);
}

#[test]
fn of_a_host_that_started_again_counts_what_it_did_since() {
    let text = |started: u64, requests: u64| {
        format!(
            "process_start_time_seconds {started}\nwaggle_http_requests_total {requests}\n\
             waggle_http_request_duration_seconds_bucket{{le=\"1\"}} {requests}\n\
             waggle_http_request_duration_seconds_bucket{{le=\"+Inf\"}} {requests}"
        )
    };
    let check = |started: u64, expected: f64, has_latency: bool| {
        let view = between(&text(1_700_000_000, 10), &text(started, 10), 1_000);
        assert!((view.host.requests.rate - expected).abs() < 1e-9, "{started}");
        assert_eq!(view.host.latency.p50.is_some(), has_latency, "{started}");
    };
    check(1_700_000_000, 0.0, false);
    check(1_700_000_500, 10.0, true);
}

#[test]
fn the_time_since_the_start_is_none_if_the_clocks_disagree() {
    let check = |started: &str, expected: Option<u64>| {
        let text = format!("process_start_time_seconds {started}");
        let view = between(&text, &text, 1_000);
        assert_eq!(view.host.up_for, expected.map(Duration::from_secs), "{started}");
    };
    check("1700000000", Some(723));
    check("1800000000", None);
    check("-1", None);
    check("NaN", None);
}

#[test]
fn shares_are_of_what_happened() {
    let check = |part: f64, whole: f64, expected: Option<f64>| {
        assert_eq!(share(part, whole), expected, "{part} of {whole}");
    };
    check(0.0, 0.0, None);
    check(0.0, 2.0, Some(0.0));
    check(1.0, 2.0, Some(0.5));
    check(3.0, 2.0, Some(1.0));
    check(3.0, 0.0, Some(1.0));
}

#[test]
fn breakers_have_three_states() {
    let check = |value: f64, expected| assert_eq!(breaker(value), expected, "{value}");
    check(0.0, Breaker::Closed);
    check(1.0, Breaker::HalfOpen);
    check(2.0, Breaker::Open);
}

#[test]
fn an_upstream_is_as_its_own_breaker_is_and_counts_its_endpoints() {
    let [before, after] = scrapes();
    let upstreams = View::between(&before, &after).upstreams;
    let local = &upstreams[0];
    assert_eq!(
        (local.name.as_str(), local.breaker, local.endpoints, local.endpoints_closed),
        ("local", Some(Breaker::HalfOpen), 2, 1)
    );
    assert_eq!(local.first_byte, Latency { p50: Some(0.007_5), p99: Some(0.048) }, "streamed before whole");
    assert_eq!(
        upstreams[1].first_byte,
        Latency { p50: Some(1.5), p99: None },
        "whole where none is streamed"
    );
}

#[test]
fn the_reason_of_most_refusals_is_of_the_interval() {
    let [before, after] = scrapes();
    let host = View::between(&before, &after).host;
    // All in all there were more for the other reason.
    assert_eq!(host.refused_for.as_deref(), Some("server_overloaded"));
    assert_eq!(View::between(&after, &after).host.refused_for, None);
}
