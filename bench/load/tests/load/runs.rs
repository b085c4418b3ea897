//! Runs and comparisons, end to end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use waggle_bench::{CompareConfig, RunConfig, RunReport, Scenario, Step, compare, run};

use crate::stub::{Mood, Stub, start};

const CLIENTS: u32 = 3;

fn config(scenario: Scenario, stub: &Stub) -> RunConfig {
    RunConfig {
        clients: CLIENTS,
        seconds: 0.3,
        warm_up_seconds: 0.05,
        expect_echo: true,
        ..RunConfig::new(scenario, stub.url())
    }
}

async fn report(scenario: Scenario, mood: Mood) -> (RunReport, Stub) {
    let stub = start(mood).await;
    (run(config(scenario, &stub)).await.unwrap(), stub)
}

#[tokio::test]
async fn each_scenario_counts_good_answers_over_one_connection_per_client() {
    let all = [
        Scenario::Hello,
        Scenario::Chat,
        Scenario::Conversation,
        Scenario::Turn,
        Scenario::TurnStream,
        Scenario::TurnHistory,
    ];
    for scenario in all {
        let (report, stub) = report(scenario, Mood::Right).await;
        assert!(report.requests > 0, "{scenario:?}");
        assert_eq!(report.error_count(), 0, "{scenario:?}: {:?}", report.errors);
        assert_eq!(report.first_delta.is_some(), scenario == Scenario::TurnStream);
        // Conversations are prepared over connections of their own, one per client here.
        let connections = if scenario.name().starts_with("turn") { 2 * CLIENTS } else { CLIENTS };
        assert_eq!(stub.seen.connections.load(Relaxed), u64::from(connections), "{scenario:?}");
    }
}

#[tokio::test]
async fn a_client_takes_a_new_conversation_after_the_asked_turns() {
    let (_, stub) = report(Scenario::Turn, Mood::Right).await;
    let (conversations, turns) = (stub.seen.conversations.load(Relaxed), stub.seen.turns.load(Relaxed));
    let full = turns / 10;
    assert!((full..=full + 2 * u64::from(CLIENTS)).contains(&conversations), "{conversations} for {turns}");
}

#[tokio::test]
async fn a_history_is_there_before_the_first_turn() {
    let stub = start(Mood::Right).await;
    let config = RunConfig {
        clients: 1,
        history: 15,
        turns_per_conversation: 1_000_000,
        ..config(Scenario::TurnHistory, &stub)
    };
    run(config).await.unwrap();
    assert_eq!(stub.seen.items.load(Relaxed), 30);
    assert_eq!(stub.seen.conversations.load(Relaxed), 1);
}

#[tokio::test]
async fn bad_answers_are_counted_by_kind_and_never_as_good() {
    async fn check(scenario: Scenario, mood: Mood, kind: &str) {
        let stub = start(mood).await;
        let config = RunConfig { request_timeout_ms: 50, ..config(scenario, &stub) };
        let report = run(config).await.unwrap();
        assert_eq!(report.requests, 0, "{scenario:?} {mood:?}");
        assert_eq!(report.errors.keys().collect::<Vec<_>>(), [kind], "{scenario:?} {mood:?}");
    }
    for scenario in [Scenario::Turn, Scenario::TurnStream] {
        check(scenario, Mood::Busy, "status 429").await;
        check(scenario, Mood::Failed, "response not completed").await;
        check(scenario, Mood::Confused, "answer without the request's own words").await;
        check(scenario, Mood::Silent, "timeout").await;
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_counted_not_fatal() {
    let report = run(RunConfig { seconds: 0.1, ..RunConfig::new(Scenario::Hello, "http://127.0.0.1:1") });
    assert_eq!(report.await.unwrap().errors.keys().collect::<Vec<_>>(), ["connect"]);
}

#[tokio::test]
async fn a_run_that_cannot_be_is_refused() {
    async fn check(change: impl FnOnce(&mut RunConfig), expected: &str) {
        let mut config = RunConfig::new(Scenario::Hello, "http://127.0.0.1:1");
        change(&mut config);
        let error = run(config).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(|c| c.clients = 0, "from 1 to 4096").await;
    check(|c| c.seconds = 0.0, "longer than 0").await;
    check(|c| c.steps = vec![Step { rate: 0.0, seconds: 1.0 }], "no step has a rate above 0").await;
    check(|c| c.connections_max = 0, "from 1 to 200000 can be made").await;
    check(|c| c.url = "http://8.8.8.8".to_owned(), "not on this machine").await;
    check(|c| c.servers = vec![("x".to_owned(), u32::MAX - 1)], "there is no process").await;
}

#[tokio::test]
async fn a_comparison_gives_ratios_to_its_baseline() {
    let (right, busy) = (start(Mood::Right).await, start(Mood::Busy).await);
    let own = std::process::id();
    let text = format!(
        "scenarios = [\"turn\"]\nclients = 2\nseconds = 0.1\nwarm_up_seconds = 0\nrounds = 2\nbaseline = \"right\"\n\
         [[target]]\nname = \"busy\"\nurl = \"{}\"\n\
         [[target]]\nname = \"right\"\nurl = \"{}\"\npids = [{own}]\n",
        busy.url(),
        right.url()
    );
    let config: CompareConfig = toml::from_str(&text).unwrap();
    let comparison = compare(&config).await.unwrap();
    let [of_busy, of_right] = comparison.results.as_slice() else { panic!("two results") };
    assert_eq!((of_busy.report.requests, of_busy.ratio.throughput), (0, Some(0.0)));
    assert_eq!((of_right.target.as_str(), of_right.ratio.throughput), ("right", Some(1.0)));
    assert!((of_right.report.seconds - 0.2).abs() < 1e-9);
    assert!(of_right.server_cpu_us.is_some() && of_busy.server_cpu_us.is_none());
}

#[tokio::test]
async fn a_target_is_measured_only_in_the_scenarios_it_takes_part_in() {
    let stub = start(Mood::Right).await;
    let url = stub.url();
    let text = |only: &str| {
        format!(
            "scenarios = [\"hello\", \"turn\"]\nclients = 1\nseconds = 0.05\nwarm_up_seconds = 0\nrounds = 1\n\
             [[target]]\nname = \"a\"\nurl = \"{url}\"\nonly = [\"{only}\"]\n\
             [[target]]\nname = \"b\"\nurl = \"{url}\"\n"
        )
    };
    let comparison = compare(&toml::from_str(&text("hello")).unwrap()).await.unwrap();
    let measured: Vec<_> = comparison
        .results
        .iter()
        .map(|of| (of.report.scenario.as_str(), of.target.as_str(), of.ratio.p50.is_some()))
        .collect();
    // The baseline, the first one, takes no part in turns.
    assert_eq!(measured, [("hello", "a", true), ("hello", "b", true), ("turn", "b", false)]);
    let error = compare(&toml::from_str(&text("hallo")).unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("target a is only for hallo"), "{error}");
}

/// The helper tells its child's pid through a file; the test listens in its place once that is there.
#[tokio::test]
async fn started_processes_are_stopped_with_their_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let awaited = pid_file.clone();
    tokio::spawn(async move {
        while !std::fs::read_to_string(&awaited).is_ok_and(|text| text.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        while listener.accept().await.is_ok() {}
    });
    let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
    let stub = start(Mood::Right).await;
    let text = format!(
        "scenarios = [\"hello\"]\nclients = 1\nseconds = 0.05\nwarm_up_seconds = 0\nrounds = 1\nlogs = '{}'\n\
         [[service]]\nname = \"helper\"\ncommand = [\"sh\", \"-c\", '{script}']\nready = \"127.0.0.1:{port}\"\n\
         [[target]]\nname = \"a\"\nurl = \"{}\"\nstores = [\"helper\"]\n",
        folder.path().display(),
        stub.url()
    );
    compare(&toml::from_str(&text).unwrap()).await.unwrap();
    let child: u32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_alive(child) {
        assert!(Instant::now() < deadline, "the child survived");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
