//! Open loops: what is due goes out whatever the server does, and is accounted for.

use std::sync::atomic::Ordering::Relaxed;

use waggle_bench::{
    Arrivals, CompareConfig, OpenReport, RunConfig, RunReport, SaturateConfig, SaturationStop, Scenario,
    Step, compare, run, saturate,
};

use crate::stub::{Mood, Stub, start};

fn config(scenario: Scenario, stub: &Stub, steps: &[(f64, f64)]) -> RunConfig {
    RunConfig {
        clients: 2,
        warm_up_seconds: 0.05,
        steps: steps.iter().map(|(rate, seconds)| Step { rate: *rate, seconds: *seconds }).collect(),
        arrivals: Arrivals::Uniform,
        expect_echo: true,
        ..RunConfig::new(scenario, stub.url())
    }
}

async fn run_open(config: RunConfig) -> (RunReport, OpenReport) {
    let report = run(config).await.unwrap();
    let open = report.open.clone().unwrap();
    let failed = report.error_count();
    assert_eq!(open.offered, report.requests + failed + open.not_sent, "each request due has one outcome");
    (report, open)
}

#[tokio::test]
async fn what_is_due_is_sent_step_by_step() {
    for scenario in [Scenario::Hello, Scenario::Turn, Scenario::TurnStream] {
        let stub = start(Mood::Right).await;
        let (report, open) =
            run_open(config(scenario, &stub, &[(100.0, 0.2), (0.0, 0.05), (400.0, 0.1)])).await;
        let offered: Vec<_> = open.steps.iter().map(|step| (step.offered, step.good)).collect();
        assert_eq!(offered, [(20, 20), (0, 0), (40, 40)], "{scenario:?}: {:?}", report.errors);
        assert_eq!(report.first_delta.is_some(), scenario == Scenario::TurnStream);
        assert!(open.connections <= open.connections_max);
    }
}

#[tokio::test]
async fn a_rate_makes_an_open_loop_of_one_step() {
    let stub = start(Mood::Right).await;
    let rated = RunConfig { rate: Some(200.0), seconds: 0.2, ..config(Scenario::Hello, &stub, &[]) };
    let (report, open) = run_open(rated).await;
    assert_eq!((report.requests, open.steps.len()), (40, 1));
}

#[tokio::test]
async fn a_server_that_never_answers_is_asked_at_the_same_rate() {
    let stub = start(Mood::Silent).await;
    let silent = RunConfig { request_timeout_ms: 60, ..config(Scenario::Turn, &stub, &[(200.0, 0.2)]) };
    let (report, open) = run_open(silent).await;
    assert_eq!((report.requests, open.offered), (0, 40));
    assert_eq!(report.errors.keys().collect::<Vec<_>>(), ["timeout"]);
    assert!(open.connections > 2, "connections are made as they are needed: {}", open.connections);
}

#[tokio::test]
async fn what_finds_no_connection_in_time_is_counted_as_not_sent() {
    let stub = start(Mood::Silent).await;
    let narrow = RunConfig {
        request_timeout_ms: 40,
        connections_max: 2,
        ..config(Scenario::Turn, &stub, &[(500.0, 0.2)])
    };
    let (_, open) = run_open(narrow).await;
    assert_eq!((open.offered, open.connections), (100, 2));
    assert!(open.not_sent > 0, "{open:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_counted_not_fatal() {
    let stub = start(Mood::Right).await;
    let down =
        RunConfig { url: "http://127.0.0.1:1".to_owned(), ..config(Scenario::Hello, &stub, &[(100.0, 0.1)]) };
    let (report, _) = run_open(down).await;
    assert_eq!(report.errors.into_iter().collect::<Vec<_>>(), [("connect".to_owned(), 10)]);
}

#[tokio::test]
async fn used_up_conversations_are_replaced_beside_the_load() {
    let stub = start(Mood::Right).await;
    let short = RunConfig {
        turns_per_conversation: 1,
        conversations: 4,
        ..config(Scenario::Turn, &stub, &[(200.0, 0.3)])
    };
    let (report, _) = run_open(short).await;
    assert_eq!(report.requests, 60, "{:?}", report.errors);
    assert!(stub.seen.conversations.load(Relaxed) >= 60);
    assert!(report.setup_requests > 0);
}

#[tokio::test]
async fn a_comparison_joins_the_rounds_of_open_loops() {
    let stub = start(Mood::Right).await;
    let text = format!(
        "scenarios = [\"hello\"]\nrate = 100\nseconds = 0.1\nwarm_up_seconds = 0\nrounds = 2\n\
         [[target]]\nname = \"a\"\nurl = \"{}\"\n",
        stub.url()
    );
    let config: CompareConfig = toml::from_str(&text).unwrap();
    let comparison = compare(&config).await.unwrap();
    let report = &comparison.results[0].report;
    let open = report.open.as_ref().unwrap();
    assert_eq!((open.offered, open.steps[0].offered), (report.requests, report.requests));
    assert!((open.steps[0].seconds - 0.2).abs() < 1e-9);
}

#[tokio::test]
async fn saturation_goes_up_until_the_rate_wanted_or_until_requests_fail() {
    async fn check(mood: Mood, rates: &[f64], kept: Option<f64>, stop: SaturationStop) {
        let stub = start(mood).await;
        let run = RunConfig {
            seconds: 0.25,
            servers: vec![("pid".to_owned(), std::process::id())],
            ..config(Scenario::Turn, &stub, &[])
        };
        let wanted =
            SaturateConfig { run, rate_from: 400.0, factor: 2.0, rate_max: 1_000.0, p99_us_max: 1e9 };
        let mut told = 0;
        let saturation = saturate(&wanted, |_| told += 1).await.unwrap();
        let tried: Vec<f64> = saturation.points.iter().map(|point| point.rate).collect();
        assert_eq!((tried.as_slice(), told), (rates, rates.len()));
        assert_eq!((saturation.rate_kept, saturation.stop), (kept, stop));
        assert!(saturation.points.iter().all(|point| point.rss_bytes > 0));
    }
    check(Mood::Right, &[400.0, 800.0, 1_000.0], Some(1_000.0), SaturationStop::RateMax).await;
    check(Mood::Busy, &[400.0], None, SaturationStop::Errors).await;
}
