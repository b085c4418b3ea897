//! Scenario files against a server: what they say is what it sees.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use waggle_bench::{CompareConfig, Held, RunConfig, ScenarioFile, compare, hold, run};

use crate::stub::{Mood, Stub, start};

const SHORT: &str = "clients = 2\nseconds = 0.2\nwarm_up_seconds = 0\n";

fn written(folder: &Path, text: &str) -> ScenarioFile {
    let path = folder.join("short.toml");
    std::fs::write(&path, format!("{SHORT}{text}")).unwrap();
    ScenarioFile::read(&path).unwrap()
}

fn keys(folder: &Path, count: usize) -> std::path::PathBuf {
    let path = folder.join("keys");
    std::fs::write(&path, (0..count).map(|key| format!("key-{key}\n")).collect::<String>()).unwrap();
    path
}

fn credentials(stub: &Stub) -> Vec<(String, u64)> {
    stub.seen.credentials.lock().unwrap().clone().into_iter().collect()
}

#[tokio::test]
async fn tenants_take_turns_with_keys_and_conversations_of_their_own() {
    let (stub, folder) = (start(Mood::Right).await, tempfile::tempdir().unwrap());
    let file = written(folder.path(), "request = \"turn\"\ntenants = 7\nturns_per_conversation = 1000000\n");
    let keys = keys(folder.path(), 9);
    let config = file.run_config(&stub.url(), Some(&keys)).unwrap();
    let report = run(config).await.unwrap();
    assert!(report.requests >= 7, "{:?}", report.errors);
    let seen = credentials(&stub);
    assert_eq!(seen.len(), 7);
    // Each made its conversation, and then they took turns.
    let counts: Vec<u64> = seen.iter().map(|(_, count)| *count).collect();
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 3, "{counts:?}");
    assert_eq!(stub.seen.conversations.load(Relaxed), 7);
}

#[tokio::test]
async fn cold_tenants_are_asked_once_and_then_no_more() {
    for open in ["", "[open]\nrate = 200\narrivals = \"uniform\"\n"] {
        let (stub, folder) = (start(Mood::Right).await, tempfile::tempdir().unwrap());
        let text = format!("request = \"hello\"\ntenants = 5\neach_tenant_once = true\n{open}");
        let config =
            written(folder.path(), &text).run_config(&stub.url(), Some(&keys(folder.path(), 5))).unwrap();
        let report = run(config).await.unwrap();
        assert_eq!((report.requests, report.error_count()), (5, 0), "{:?}", report.errors);
        assert!(credentials(&stub).iter().all(|(_, count)| *count == 1));
    }
}

#[tokio::test]
async fn an_input_has_the_length_that_was_asked_for() {
    let (stub, folder) = (start(Mood::Right).await, tempfile::tempdir().unwrap());
    let file = written(folder.path(), "request = \"turn\"\ninput_bytes = 70000\n");
    let config = RunConfig { expect_echo: true, ..file.run_config(&stub.url(), None).unwrap() };
    let report = run(config).await.unwrap();
    assert!(report.requests > 0 && report.error_count() == 0, "{:?}", report.errors);
    assert_eq!(stub.seen.input_bytes.load(Relaxed), 70_000);
}

#[tokio::test]
async fn a_comparison_takes_scenario_files() {
    let (stub, folder) = (start(Mood::Right).await, tempfile::tempdir().unwrap());
    written(folder.path(), "request = \"hello\"\n[open]\nrate = 100\narrivals = \"uniform\"\n");
    let text = format!(
        "scenarios = []\nscenario_files = ['{}']\nrounds = 1\n[[target]]\nname = \"a\"\nurl = \"{}\"\n",
        folder.path().join("short.toml").display(),
        stub.url()
    );
    let config: CompareConfig = toml::from_str(&text).unwrap();
    let comparison = compare(&config).await.unwrap();
    assert_eq!(comparison.results[0].report.scenario, "short");
    assert_eq!(comparison.results[0].report.requests, 20);
}

#[tokio::test]
async fn idle_connections_are_held_and_still_there_in_the_end() {
    async fn check(request: &str, mood: Mood, held: Held, expected: (u32, u32)) {
        let (stub, folder) = (start(mood).await, tempfile::tempdir().unwrap());
        let text = format!("request = \"{request}\"\n[idle]\nconnections = 20\nhold_seconds = 0.1\n");
        let file = written(folder.path(), &text);
        let mut config = file.run_config(&stub.url(), None).unwrap();
        config.request_timeout_ms = 300;
        config.servers = vec![("pid".to_owned(), std::process::id())];
        let report = hold(config, file.body.idle.as_ref().unwrap()).await.unwrap();
        assert_eq!((report.held, report.wanted), (held, 20));
        assert_eq!((report.established, report.alive), expected, "{request} {mood:?}: {:?}", report.errors);
        assert_eq!(report.servers.len(), 1);
    }
    tokio::join!(
        check("hello", Mood::Right, Held::KeptAlive, (20, 20)),
        check("hello", Mood::Leaves, Held::KeptAlive, (20, 0)),
        check("turn-stream", Mood::Stalls, Held::Stream, (20, 20)),
        // A stream that has ended is not held.
        check("turn-stream", Mood::Right, Held::Stream, (20, 0)),
        check("turn-stream", Mood::Silent, Held::Stream, (0, 0)),
    );
}

#[tokio::test]
async fn more_connections_than_files_are_refused_with_what_to_do() {
    let (stub, folder) = (start(Mood::Right).await, tempfile::tempdir().unwrap());
    let mut other =
        std::process::Command::new("sh").args(["-c", "ulimit -n 50; exec sleep 1000"]).spawn().unwrap();
    let file = written(folder.path(), "request = \"hello\"\n[idle]\nconnections = 90\nhold_seconds = 0\n");
    let mut config = file.run_config(&stub.url(), None).unwrap();
    config.servers = vec![("server".to_owned(), other.id())];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let error = loop {
        // The shell has to have set its limit first.
        match hold(config.clone(), file.body.idle.as_ref().unwrap()).await {
            Err(error) => break error.to_string(),
            Ok(_) => assert!(std::time::Instant::now() < deadline, "no limit was seen"),
        }
    };
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(error.contains("may have 50 open files") && error.contains("ulimit -n 154"), "{error}");
}
