//! Tenants beside each other in one real server: each kind of hostile function gets the end that is documented for it,
//! and a well-behaved tenant notices nothing, nor does the process.

pub(crate) mod tenants;

mod canary;
mod outbound;
mod shares;
mod store;
mod tables;

use crate::support::{Function, Server, Setup, eventually};
use futures::future::join_all;
use std::collections::BTreeSet;
use tenants::{Caller, GOOD, Good, check_sound, memory_mib, with_tenants};

/// The tenant that misbehaves.
const HOSTILE: &str = "hostile";
/// What the process may hold when the storm is over, MiB; the compiled functions are the most of it.
const RESIDENT_MIB_MAX: u64 = 450;

/// A server with these guests beside `hello` and `kv-probe`, and the two tenants; `lines` are the hostile one's.
fn beside_good(guests: &[&str], config: &str, lines: &str) -> Setup {
    let stored = "key_value_stores = [\"default\"]\nallowed_outbound_hosts = [\"http://self\"]";
    let functions = guests.iter().map(|guest| Function::guest(guest).with(stored));
    let own = [Function::hello(), Function::guest("kv-probe").with(stored)];
    let setup = Setup::functions(&functions.chain(own).collect::<Vec<_>>()).runtime_config(config);
    with_tenants(setup, [(GOOD, ""), (HOSTILE, lines)])
}

/// One thing a hostile tenant does.
struct Case {
    /// The path, its query (`?now`) included.
    path: &'static str,
    /// How every outcome begins that is as documented.
    expected: &'static [&'static str],
    /// How many such requests are sent at once.
    at_once: usize,
}

const fn case(path: &'static str, expected: &'static [&'static str], at_once: usize) -> Case {
    Case { path, expected, at_once }
}

/// Checks each case, and tells all that went wrong at the end.
async fn check_all(server: &Server, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(check(server, case).await);
    }
    assert!(wrong.is_empty(), "not as documented:\n{}\n{}", wrong.join("\n"), tail(server));
}

/// Lets the hostile tenant do it while the good one asks, then looks at everybody. Returns outcomes that are not as
/// documented; harm to the good tenant or to the process ends the test at once.
async fn check(server: &Server, Case { path, expected, at_once }: &Case) -> Vec<String> {
    let (good, hostile) = (Good::watch(server).await, Caller::new(server, HOSTILE));
    let outcomes = join_all((0..*at_once).map(|_| hostile.outcome(path, &[]))).await;
    let as_documented = |outcome: &String| expected.iter().any(|expected| outcome.starts_with(expected));
    let wrong: BTreeSet<String> = outcomes.into_iter().filter(|outcome| !as_documented(outcome)).collect();
    good.check_unharmed(path).await;
    check_sound(server, path).await;
    let resident = memory_mib(server, "VmRSS");
    assert!(resident <= RESIDENT_MIB_MAX, "{path}: the process holds {resident} MiB");
    wrong.into_iter().map(|outcome| format!("{path}: {outcome:?}, not {expected:?}")).collect()
}

fn tail(server: &Server) -> String {
    let output = server.output();
    let lines: Vec<&str> = output.lines().rev().take(20).collect();
    lines.into_iter().rev().map(|line| line.chars().take(400).collect::<String>() + "\n").collect()
}

const STOPPED: &[&str] = &["500 function_cpu_time"];
const NO_RESPONSE: &[&str] = &["502 function_no_response"];
const FAILED: &[&str] = &["500 function_failed"];
/// The hostile tenant's allowance; the host's is larger, so that a busy machine stops nobody else.
const SHORT: &str = "limits.request_cpu_ms_max = 200";
const CONFIG: &str = "[engine]\nrequest_cpu_ms_max = 10000\n";

#[tokio::test(flavor = "multi_thread")]
async fn loops_of_every_kind_are_stopped_and_no_neighbour_notices() {
    let guests = ["endless-loop", "loop-p2", "loop-at-start", "loop-in-bulk-memory", "loop-in-host-calls"];
    let server = beside_good(&guests, CONFIG, SHORT).start();
    let cases = [
        case("/endless-loop/?now", STOPPED, 4),
        case("/loop-p2/?now", STOPPED, 4),
        case("/loop-at-start/", STOPPED, 4),
        case("/loop-in-bulk-memory/fill?now", STOPPED, 4),
        case("/loop-in-bulk-memory/copy?now", STOPPED, 4),
        case("/loop-in-host-calls/store?now", STOPPED, 4),
        case("/loop-in-host-calls/store-async?now", STOPPED, 4),
        case("/loop-in-host-calls/random?now", STOPPED, 4),
        case("/loop-in-host-calls/clock?now", STOPPED, 4),
        case("/loop-in-host-calls/no-wait?now", STOPPED, 4),
        case("/loop-in-host-calls/variable?now", STOPPED, 4),
        case("/loop-in-host-calls/yield?now", STOPPED, 4),
        case("/loop-in-host-calls/headers?now", STOPPED, 4),
    ];
    check_all(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_after_the_response_is_bounded() {
    let lines = "limits.request_cpu_ms_max = 50";
    let server = beside_good(&["task-after-response"], CONFIG, lines).start();
    check_all(&server, &[case("/task-after-response/spin?now", &["200 fine\n"], 1)]).await;
    eventually("the end of the loop", || server.output().contains("used more CPU time")).await;

    let config = "[engine]\nrequest_cpu_ms_max = 10000\nidle_instance_timeout_ms = 500\n";
    let server = beside_good(&["task-after-response"], config, SHORT).start();
    for trick in ["nap", "write", "call"] {
        let path = format!("/task-after-response/{trick}?now");
        check(&server, &case(Box::leak(path.into_boxed_str()), &["200 fine\n", "500 function_cpu_time"], 4))
            .await;
    }
    // An instance is a thing of the past once it has been idle, whatever still runs in it: nothing is written any more.
    let hostile = Caller::new(&server, HOSTILE);
    let is_left = async || {
        hostile.text("/kv-probe/spin3/delete?key=left-over").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        hostile.text("/kv-probe/spin3/exists?key=left-over").await.1 == "true"
    };
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while is_left().await {
        assert!(
            std::time::Instant::now() < until,
            "a task goes on long after its instance should have ended"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_stacks_have_an_end() {
    let guests = [
        "grow-memory",
        "memory-to-the-limit",
        "recurse",
        "unread-streams",
        "polls-millions-p2",
        "odd-numbers",
    ];
    // What ends here ends by itself, however busy the machine is.
    let config = "[engine]\ninstance_memory_bytes_max = 67108864\nrequest_cpu_ms_max = 5000\n\
                  request_timeout_ms = 25000\nresponse_timeout_ms = 30000\n";
    let server = beside_good(&guests, config, "").start();
    let cases = [
        case("/grow-memory/?now", FAILED, 4),
        case("/memory-to-the-limit/?now", &["200 1024 pages, true"], 4),
        case("/recurse/?now", FAILED, 4),
        case("/unread-streams/?now", FAILED, 2),
        case("/polls-millions-p2/?now", FAILED, 2),
        case("/odd-numbers/random?now", FAILED, 2),
    ];
    check_all(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_and_waits_have_an_end() {
    let config = "[engine]\ninstance_memory_bytes_max = 67108864\nrequest_cpu_ms_max = 5000\n\
                  request_timeout_ms = 2500\nresponse_timeout_ms = 3000\n";
    let server = beside_good(&["handles-without-end", "odd-numbers"], config, "").start();
    let handles: &[&str] = &["500 function_failed", "200 got", "504 function_timeout"];
    let cases = [
        case("/handles-without-end/fields?now", handles, 2),
        case("/handles-without-end/options?now", handles, 2),
        case("/handles-without-end/requests?now", handles, 2),
        case("/handles-without-end/streams?now", handles, 2),
        case("/handles-without-end/futures?now", handles, 2),
        case("/handles-without-end/stores?now", handles, 2),
        case("/handles-without-end/waits?now", handles, 2),
        case("/handles-without-end/streams-of-streams?now", handles, 2),
        case("/odd-numbers/wait-for?now", &["504 function_timeout"], 1),
        case("/odd-numbers/wait-until?now", &["504 function_timeout"], 1),
    ];
    check_all(&server, &cases).await;
}

/// What instances of one tenant may make the host keep for them, MiB at the peak.
const HOARDED_MIB_MAX: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn the_host_keeps_little_for_a_guest_that_hoards() {
    let config =
        "[engine]\nrequest_cpu_ms_max = 5000\nrequest_timeout_ms = 8000\nresponse_timeout_ms = 9000\n";
    for trick in ["fields", "targets", "key-lists"] {
        let server = beside_good(&["hoards-in-the-host"], config, "").start();
        let path: &'static str = Box::leak(format!("/hoards-in-the-host/{trick}?now").into_boxed_str());
        let before = memory_mib(&server, "VmHWM");
        check_all(&server, &[case(path, &["500", "200 got", "504"], 1)]).await;
        let grown = memory_mib(&server, "VmHWM") - before;
        assert!(grown <= HOARDED_MIB_MAX, "{trick}: the process grew by {grown} MiB for one instance");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_none_end_as_documented() {
    let guests = [
        "trap",
        "panic",
        "no-answer",
        "never-answers",
        "never-finishes",
        "writes-nothing",
        "many-headers",
        "odd-status",
        "exits",
        "trap-in-body",
        "calls-itself-often",
    ];
    let config =
        "[engine]\nrequest_cpu_ms_max = 10000\nrequest_timeout_ms = 1500\nresponse_timeout_ms = 2000\n";
    let server = beside_good(&guests, config, "").start();
    let cases = [
        case("/panic/?now", FAILED, 100),
        case("/trap/?now", FAILED, 100),
        // Where head and failure meet before anything was written, the client reads nothing.
        case(
            "/trap-in-body/?now",
            &["200 cut fine, at first\n", "500 function_failed", "connection closed"],
            50,
        ),
        case("/exits/?now", FAILED, 20),
        case("/exits/failure?now", FAILED, 20),
        case("/exits/abort?now", FAILED, 20),
        case("/no-answer/?now", NO_RESPONSE, 50),
        case("/never-answers/?now", &["504 function_timeout"], 50),
        case("/never-finishes/?now", &["200 cut begun\n"], 50),
        case("/writes-nothing/?now", &["200 cut begun\n"], 4),
        case("/writes-nothing/bytes?now", &["200 cut begun\nxxx"], 2),
        // One of these traps, and those that are in the same instance at that moment end with it. All are much work, for
        // which the time may be too short.
        case("/many-headers/response?now", &["200 ", "500 ", "502 ", "504 ", "connection closed"], 4),
        case("/many-headers/response-same?now", &["200 ", "500 ", "502 ", "504 ", "connection closed"], 4),
        case("/many-headers/response-list?now", &["200 refused", "200 cut", "500 ", "504 "], 4),
        case("/many-headers/trailers?now", &["200 ", "500 ", "504 "], 4),
        case("/many-headers/request?now", &["500 function_failed", "504 "], 4),
        case("/many-headers/request-with-room?now", &["200 ", "500 ", "504 "], 4),
        case("/odd-status/0?now", &["200 refused 0"], 2),
        case("/odd-status/99?now", &["200 refused 99"], 2),
        case("/odd-status/1000?now", &["200 refused 1000"], 2),
        // An informational status is no response (RFC 9110, section 15.2), and nobody asked to switch protocols.
        case("/odd-status/100?now", NO_RESPONSE, 2),
        case("/odd-status/101?now", NO_RESPONSE, 2),
        case("/odd-status/103?now", NO_RESPONSE, 2),
        case("/odd-status/199?now", NO_RESPONSE, 2),
        case("/odd-status/204?now", &["204 "], 2),
        case("/odd-status/304?now", &["304 "], 2),
        case("/odd-status/999?now", &["200 refused 999"], 2),
        case("/odd-status/599?now", &["599 a body"], 2),
        case("/calls-itself-often/?now", &["200 fine", "429", "500", "504"], 2),
    ];
    check_all(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_length_that_is_not_kept_deceives_nobody() {
    let server = beside_good(&["contradictory-lengths", "contradictory-lengths-p2"], CONFIG, SHORT).start();
    let hostile = Caller::new(&server, HOSTILE);
    let good = Good::watch(&server).await;
    // What the client reads is never more than was declared, and never less without an error.
    let refused: &[&str] = &["200 refused"];
    for (lengths, expected) in [
        ("10", &["200 0123456789"][..]),
        ("5", &["200 cut", "connection closed"]),
        ("0", &["200 ", "connection closed"]),
        ("11", &["200 cut", "connection closed"]),
        ("18446744073709551615", &["200 cut", "connection closed"]),
        ("10|10", refused),
        ("10|5", refused),
        ("5|10", refused),
        ("10, 10", refused),
        ("5, 10", refused),
        ("+10", refused),
        ("0x10", refused),
        ("ten", refused),
        ("-1", refused),
        ("99999999999999999999999", refused),
    ] {
        for _ in 0..2 {
            let outcome =
                hostile.outcome("/contradictory-lengths/response?now", &[("x-lengths", lengths)]).await;
            let as_documented = expected.iter().any(|expected| outcome.starts_with(expected));
            assert!(as_documented, "{lengths:?}: {outcome:?}, not {expected:?}\n{}", tail(&server));
        }
    }
    for (length, expected) in [
        ("10", &["200 0123456789"][..]),
        ("5", &["200 01234", "200 cut", "connection closed"]),
        ("0", &["200 ", "connection closed"]),
        ("11", &["200 cut", "connection closed"]),
        ("10,5", refused),
        ("-1", refused),
    ] {
        let outcome = hostile.outcome(&format!("/contradictory-lengths-p2/?{length}"), &[]).await;
        let as_documented = expected.iter().any(|expected| outcome.starts_with(expected));
        assert!(as_documented, "WASI 0.2, {length:?}: {outcome:?}, not {expected:?}\n{}", tail(&server));
    }
    good.check_unharmed("contradictory lengths").await;
    check_sound(&server, "contradictory lengths").await;
}

/// Bytes and lines that one hostile request may leave in the operator's log.
const LOG_BYTES_MAX: usize = 2 << 20;
const LOG_LINES_MAX: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_neither_flooded_nor_forged() {
    let server = beside_good(&["log-flood", "long-error", "refused-calls", "panic"], CONFIG, "").start();
    let mut wrong = Vec::new();
    for case in [
        case("/log-flood/?now", &["200 fine"], 2),
        case("/long-error/?now", NO_RESPONSE, 2),
        case("/long-error/forged?now", NO_RESPONSE, 2),
        case("/refused-calls/?now", &["200 5000 refused"], 1),
        case("/panic/?now", FAILED, 200),
    ] {
        let before = server.output();
        wrong.extend(check(&server, &case).await);
        let output = server.output();
        let (bytes, lines) = (output.len() - before.len(), output.lines().count() - before.lines().count());
        assert!(
            bytes <= LOG_BYTES_MAX && lines <= LOG_LINES_MAX,
            "{}: {bytes} bytes, {lines} lines",
            case.path
        );
        assert!(!output.contains('\u{1b}'), "{}: control characters reached the terminal", case.path);
        let forged = output.lines().find(|line| line.starts_with("2026-01-01") || line.starts_with("flood"));
        assert_eq!(forged, None, "{}", case.path);
    }
}
