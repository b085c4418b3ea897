//! A tenant that takes all it can get, of instances, of memory and of patience, leaves the others theirs.

use super::tenants::{Caller, GOOD, Good, check_sound, memory_mib, with_tenants};
use super::{HOSTILE, tail};
use crate::support::{Function, Server, Setup, eventually};
use futures::future::join_all;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn start(guests: &[&str], config: &str, tenants: &[(&str, &str)]) -> Server {
    let stored = "key_value_stores = [\"default\"]";
    let functions = guests.iter().map(|guest| Function::guest(guest).with(stored));
    let own = [Function::hello(), Function::guest("kv-probe").with(stored)];
    let setup = Setup::functions(&functions.chain(own).collect::<Vec<_>>()).runtime_config(config);
    with_tenants(setup, tenants.iter().copied()).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fills_its_instances_leaves_room_for_newcomers() {
    let newcomers: Vec<String> = (0..20).map(|number| format!("newcomer-{number}")).collect();
    // It has no limit of its own, but the share of the host's that every tenant has: a quarter.
    let mut tenants = vec![(GOOD, ""), (HOSTILE, "isolation = \"request\"")];
    tenants.extend(newcomers.iter().map(|name| (&**name, "")));
    let config = "[engine]\ninstances_max = 16\ninstance_wait_ms = 300\nrequest_timeout_ms = 1500\n\
                  response_timeout_ms = 2000\n";
    let server = start(&["never-answers"], config, &tenants);
    let (good, hostile) = (Good::watch(&server).await, Caller::new(&server, HOSTILE));
    let flood =
        tokio::spawn(
            async move { join_all((0..60).map(|_| hostile.outcome("/never-answers/?now", &[]))).await },
        );
    good.answers(50).await;
    for newcomer in &newcomers {
        let outcome = Caller::new(&server, newcomer).outcome("/hello", &[]).await;
        assert_eq!(outcome, "200 hello\n", "{newcomer}\n{}", tail(&server));
    }
    assert!(!flood.is_finished(), "the newcomers waited for the flood to end");
    let outcomes = flood.await.unwrap();
    let count = |begins: &str| outcomes.iter().filter(|outcome| outcome.starts_with(begins)).count();
    let (hung, refused) = (count("504 function_timeout"), count("429 rate_limit_exceeded"));
    assert!(hung == 4 && hung + refused == outcomes.len(), "{outcomes:?}");
    good.check_unharmed("a flood of requests that never end").await;
    check_sound(&server, "a flood of requests that never end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_of_a_tenant_share_its_memory() {
    let limits = "isolation = \"request\"\nlimits.memory_bytes_max = 100663296";
    let config = "[engine]\nrequest_cpu_ms_max = 5000\n";
    let server = start(&["memory-to-the-limit", "grow-memory"], config, &[(GOOD, ""), (HOSTILE, limits)]);
    let (good, hostile) = (Good::watch(&server).await, Caller::new(&server, HOSTILE));
    let before = memory_mib(&server, "VmHWM");
    for path in ["/memory-to-the-limit/?now", "/grow-memory/?now"] {
        let outcomes = join_all((0..40).map(|_| hostile.outcome(path, &[]))).await;
        let expected = ["200 ", "500 function_failed", "429 rate_limit_exceeded"];
        let wrong = outcomes.iter().find(|outcome| !expected.iter().any(|one| outcome.starts_with(one)));
        assert_eq!(wrong, None, "{path}\n{}", tail(&server));
    }
    let grown = memory_mib(&server, "VmHWM") - before;
    assert!(grown <= 96 + 64, "96 MiB are allowed, and the process grew by {grown} MiB");
    // What was taken is given back as soon as the instances are gone, which is after their last responses.
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let outcome = hostile.outcome("/memory-to-the-limit/?now", &[]).await;
        if outcome.starts_with("200 1536 pages") {
            break;
        }
        assert!(std::time::Instant::now() < until, "{outcome}");
    }
    good.check_unharmed("a tenant that wants all memory").await;
    check_sound(&server, "a tenant that wants all memory").await;
}

/// Connections that ask for much and read nothing.
const NEVER_READ: usize = 60;
/// What the host may keep for all of them, MiB.
const UNREAD_MIB_MAX: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_never_read_cost_little() {
    let config = "[engine]\nrequest_timeout_ms = 1500\nresponse_timeout_ms = 2500\n";
    let server = start(&["writes-nothing"], config, &[(GOOD, ""), (HOSTILE, "")]);
    let good = Good::watch(&server).await;
    let before = memory_mib(&server, "VmHWM");
    let request = format!(
        "GET /writes-nothing/bytes?now HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        super::tenants::key_of(HOSTILE)
    );
    let mut streams: Vec<TcpStream> = (0..NEVER_READ)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    good.answers(super::tenants::GOOD_ANSWERS_MIN).await;
    let grown = memory_mib(&server, "VmHWM") - before;
    assert!(grown <= UNREAD_MIB_MAX, "the process grew by {grown} MiB for {NEVER_READ} callers");
    // Each of them is given up at its deadline, and the function serves others.
    let hostile = Caller::new(&server, HOSTILE);
    for _ in 0..3 {
        let outcome = hostile.outcome("/writes-nothing/", &[]).await;
        assert!(outcome == "200 begun\n" || outcome.starts_with("429 "), "{outcome}");
    }
    let ended = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut piece = vec![0; 1 << 20];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(_more) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    };
    eventually("the end of all of them", || streams.iter_mut().all(ended)).await;
    assert_eq!(hostile.outcome("/writes-nothing/", &[]).await, "200 begun\n");
    good.check_unharmed("callers that never read").await;
    check_sound(&server, "callers that never read").await;
}
