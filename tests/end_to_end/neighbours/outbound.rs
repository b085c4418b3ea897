//! Where a hostile function's calls may not go: into the machine, its network, other tenants' functions, or into the
//! connection that the next tenant's call will use.

use super::tenants::{Caller, GOOD, Good, check_sound, with_tenants};
use super::{HOSTILE, tail};
use crate::support::{Function, Server, Setup};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A service inside the machine that must never hear from a function; it counts its connections.
struct Forbidden {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Forbidden {
    async fn start() -> Self {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _from)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nreached").await;
            }
        });
        // It is there for who comes by any address of this machine, IPv4 included.
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        crate::support::eventually("the first connection", || connections.load(Relaxed) == 1).await;
        connections.store(0, Relaxed);
        Self { port, connections }
    }

    fn check_untouched(&self, case: &str) {
        assert_eq!(self.connections.load(Relaxed), 0, "{case} reached what it must not");
    }
}

/// A request as an upstream saw it: its target, and the fields that say how long its body is.
#[derive(Clone, Debug)]
struct Seen {
    target: String,
    lengths: Vec<String>,
    chunked: bool,
}

/// An upstream over HTTP/1.1 that answers with the target it was asked for and keeps its connections; `/redirect?URL`
/// it answers with a redirect to there.
struct Upstream {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Seen>>>::default());
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _from)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&all)));
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn converse(stream: tokio::net::TcpStream, all: Arc<Mutex<Vec<Seen>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
        let target = line.split(' ').nth(1).unwrap_or(&line).to_owned();
        let mut seen = Seen { target: target.clone(), lengths: Vec::new(), chunked: false };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match &*name.to_ascii_lowercase() {
                "content-length" => seen.lengths.push(value.trim().to_owned()),
                "transfer-encoding" => seen.chunked = true,
                _ => {}
            }
        }
        all.lock().unwrap().push(seen.clone());
        read_body(&mut stream, &seen).await?;
        let more = match target.split_once('?') {
            Some(("/redirect", to)) => format!("location: {to}\r\n"),
            _ => String::new(),
        };
        let status = if more.is_empty() { "200 OK" } else { "302 Found" };
        let answer = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n{target}", target.len());
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn read_body(stream: &mut BufReader<tokio::net::TcpStream>, seen: &Seen) -> Option<()> {
    if seen.chunked {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let bytes = usize::from_str_radix(line.trim(), 16).ok()?;
            stream.read_exact(&mut vec![0; bytes + 2]).await.ok()?;
            if bytes == 0 {
                return Some(());
            }
        }
    }
    let bytes: u64 = seen.lengths.first().and_then(|length| length.parse().ok()).unwrap_or(0);
    let read = tokio::io::copy(&mut stream.take(bytes), &mut tokio::io::sink()).await.ok()?;
    (read == bytes).then_some(())
}

fn start(functions: Vec<Function>, tenants: &[(&str, &str)]) -> Server {
    let stored = "key_value_stores = [\"default\"]";
    let own = [Function::hello(), Function::guest("kv-probe").with(stored)];
    let setup = Setup::functions(&functions.into_iter().chain(own).collect::<Vec<_>>());
    with_tenants(setup, tenants.iter().copied()).start()
}

const BOTH: &[(&str, &str)] = &[(GOOD, ""), (HOSTILE, "")];

/// Addresses of this machine, of private networks and of cloud metadata, in every spelling. What is marked is known by
/// its address alone; the rest fails as it may, but it fails.
const FORBIDDEN: &[(&str, bool)] = &[
    ("127.0.0.1", true),
    ("127.0.0.2", true),
    ("127.255.255.254", true),
    ("localhost", true),
    ("LOCALHOST", true),
    ("0.0.0.0", true),
    ("10.0.0.1", true),
    ("172.16.0.1", true),
    ("192.168.0.1", true),
    ("100.64.0.1", true),
    ("169.254.0.1", true),
    ("169.254.169.254", true),
    ("169.254.170.2", true),
    ("100.100.100.200", true),
    ("168.63.129.16", true),
    ("224.0.0.1", true),
    ("255.255.255.255", true),
    ("[::]", true),
    ("[::1]", true),
    ("[0:0:0:0:0:0:0:1]", true),
    ("[::ffff:127.0.0.1]", true),
    ("[::ffff:7f00:1]", true),
    ("[::ffff:169.254.169.254]", true),
    ("[::127.0.0.1]", true),
    ("[64:ff9b::127.0.0.1]", true),
    ("[64:ff9b::a9fe:a9fe]", true),
    ("[64:ff9b:1::7f00:1]", true),
    ("[2002:7f00:1::]", true),
    ("[2002:a9fe:a9fe::1]", true),
    ("[2001:0:7f00:1:0:0:80ff:fffe]", true),
    ("[fe80::1]", true),
    ("[fc00::1]", true),
    ("[fd00:ec2::254]", true),
    ("[ff02::1]", true),
    ("2130706433", false),
    ("0x7f000001", false),
    ("017700000001", false),
    ("0177.0.0.1", false),
    ("0x7f.0.0.1", false),
    ("127.1", false),
    ("127.0.1", false),
    ("0", false),
    ("127.0.0.1.", false),
    ("localhost.", false),
    ("foo.localhost", false),
    ("localhost.localdomain", false),
    ("ip6-localhost", false),
    ("127.0.0.1.nip.io", false),
    ("metadata.google.internal", false),
    ("%31%32%37.0.0.1", false),
    ("127%2e0%2e0%2e1", false),
    ("localhost%00.example.com", false),
    ("①②⑦.⓪.⓪.①", false),
    ("ｌocalhost", false),
    ("127。0。0。1", false),
    ("user@127.0.0.1", false),
    ("example.com@127.0.0.1", false),
    ("127.0.0.1#@example.com", false),
    ("127.0.0.1\\@example.com", false),
    ("[::1%25lo]", false),
    ("[::ffff:127.0.0.1", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_address_leads_into_the_machine_or_its_network() {
    let forbidden = Forbidden::start().await;
    // The operator meant the Internet, which is not this machine.
    let anywhere = "allowed_outbound_hosts = [\"*://*:*\"]";
    let server = start(
        vec![
            Function::guest("outbound").with(anywhere),
            Function::guest("outbound-p2").with(anywhere),
            Function::guest("env-and-files").with(anywhere),
        ],
        BOTH,
    );
    let (good, hostile) = (Good::watch(&server).await, Caller::new(&server, HOSTILE));
    for (host, is_known) in FORBIDDEN {
        for port in [format!(":{}", forbidden.port), String::new()] {
            let authority = format!("{host}{port}");
            let request = hostile.get("/outbound/").timeout(Duration::from_secs(30));
            let url =
                reqwest::header::HeaderValue::from_bytes(format!("http://{authority}/").as_bytes()).unwrap();
            let text = request.header("x-url", url).send().await.unwrap().text().await.unwrap();
            assert!(text.starts_with("error "), "{authority}: {text}");
            let prohibited = text.contains("DestinationIpProhibited");
            assert!(prohibited || !is_known, "{authority}: {text}");
            forbidden.check_untouched(&authority);
        }
        if host.is_ascii() && !host.contains(['%', '#', '\\']) {
            let authority = format!("{host}:{}", forbidden.port);
            let outcome = hostile.outcome(&format!("/outbound-p2/?{authority}"), &[]).await;
            assert!(
                outcome.starts_with("200 error") || outcome.starts_with("500 "),
                "{authority}: {outcome}"
            );
            let outcome = hostile.outcome(&format!("/env-and-files/connect?{authority}"), &[]).await;
            assert!(outcome.starts_with("403 "), "{authority}: {outcome}");
            forbidden.check_untouched(&format!("a socket to {authority}"));
        }
    }
    good.check_unharmed("forbidden addresses").await;
    check_sound(&server, "forbidden addresses").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_call_like_any_other() {
    let (forbidden, upstream) = (Forbidden::start().await, Upstream::start().await);
    let list = format!(
        "allowed_outbound_hosts = [\"http://127.0.0.1:{}\", \"http://*.example.com\"]",
        upstream.port
    );
    let wide = format!("allowed_outbound_hosts = [\"http://127.0.0.1:{}\", \"http://*:*\"]", upstream.port);
    let server = start(
        vec![
            Function::guest("follows-redirects").with(&list),
            Function::guest("follows-redirects").named("follows-anywhere").with(&wide),
        ],
        BOTH,
    );
    let hostile = Caller::new(&server, HOSTILE);
    let check = async |function: &str, to: &str, expected: &str| {
        let url = format!("http://127.0.0.1:{}/redirect?{to}", upstream.port);
        let outcome = hostile.outcome(&format!("/{function}/"), &[("x-url", &url)]).await;
        assert_eq!(outcome, format!("200 {expected}"), "{function} to {to}\n{}", tail(&server));
        forbidden.check_untouched(to);
    };
    let port = forbidden.port;
    check("follows-redirects", &format!("http://127.0.0.1:{}/there", upstream.port), "step 1: status 200")
        .await;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let to = format!("http://{host}:{port}/");
        check("follows-redirects", &to, "step 1: error ErrorCode::HttpRequestDenied").await;
        check("follows-anywhere", &to, "step 1: error ErrorCode::DestinationIpProhibited").await;
    }
    check(
        "follows-redirects",
        "http://kv-probe.spin.internal/",
        "step 1: error ErrorCode::HttpRequestDenied",
    )
    .await;
    check_sound(&server, "redirects").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_lies_about_its_length_spoils_nobodys_connection() {
    let upstream = Upstream::start().await;
    let list = format!("allowed_outbound_hosts = [\"http://127.0.0.1:{}\"]", upstream.port);
    let server = start(
        vec![
            Function::guest("contradictory-lengths").with(&list),
            Function::guest("outbound").with(&list),
            Function::guest("odd-numbers").with(&list),
        ],
        BOTH,
    );
    let (good, hostile) = (Caller::new(&server, GOOD), Caller::new(&server, HOSTILE));
    let authority = format!("127.0.0.1:{}", upstream.port);
    let smuggled = "0~~GET /smuggled HTTP/1.1~host: x~content-length: 5~~";
    for lengths in [
        "",
        "0",
        "5",
        "0|59",
        "59|0",
        "1, 1",
        "0, 59",
        "+5",
        "0x5",
        "5 ",
        "-1",
        "900",
        "18446744073709551615",
    ] {
        for number in 0..5 {
            let fields = [("x-lengths", lengths), ("x-authority", &authority), ("x-body", smuggled)];
            let outcome = hostile.outcome("/contradictory-lengths/request?now", &fields).await;
            let expected = ["200 refused", "200 error", "200 status 200 /hostile"];
            assert!(expected.iter().any(|one| outcome.starts_with(one)), "{lengths:?}: {outcome}");
            for next in 0..4 {
                let target = format!("/good-{number}-{next}-{}", lengths.len());
                let url = format!("http://{authority}{target}");
                let outcome = good.outcome("/outbound/", &[("x-url", &url)]).await;
                assert_eq!(
                    outcome,
                    format!("200 status 200\n{target}"),
                    "after {lengths:?}\n{}",
                    tail(&server)
                );
            }
        }
    }
    // Time-outs of no time and of centuries are times like any other.
    let url = format!("http://{authority}/good-timeouts");
    let outcome = hostile.outcome("/odd-numbers/timeouts?now", &[("x-url", &url)]).await;
    assert_eq!(outcome, "200 status 200");
    for Seen { target, lengths, chunked } in upstream.seen() {
        let case = format!("{target} {lengths:?} {chunked}");
        assert!(target == "/hostile" || target.starts_with("/good-"), "smuggled: {case}");
        assert!(
            lengths.len() + usize::from(chunked) <= 1,
            "an upstream cannot tell how long this is: {case}"
        );
        assert!(lengths.iter().all(|length| length.bytes().all(|byte| byte.is_ascii_digit())), "{case}");
    }
    check_sound(&server, "contradictory lengths").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_between_functions_stay_with_their_tenant() {
    let stored = "key_value_stores = [\"default\"]";
    let anywhere = "allowed_outbound_hosts = [\"*://*:*\"]";
    let server = start(
        vec![
            Function::guest("outbound").with(anywhere),
            Function::guest("outbound").named("shut-in"),
            Function::guest("kv-probe").named("vault").with(stored).route("{ private = true }"),
            Function::guest("headers-echo").named("mirror").route("{ private = true }"),
        ],
        &[(GOOD, ""), (HOSTILE, ""), ("narrow", "functions = [\"outbound\", \"kv-probe\", \"hello\"]")],
    );
    for tenant in [GOOD, HOSTILE, "narrow"] {
        let path = format!("/kv-probe/spin3/set?key=mark&value={tenant}");
        assert_eq!(Caller::new(&server, tenant).outcome(&path, &[]).await, "200 done");
    }
    let through = async |tenant: &str, function: &str, url: &str| {
        Caller::new(&server, tenant)
            .outcome(&format!("/{function}/"), &[("x-url", url), ("x-forge", GOOD)])
            .await
    };
    let mark = "/spin3/get?key=mark";
    for tenant in [GOOD, HOSTILE] {
        for host in ["vault.spin.internal", "VAULT.Spin.Internal", "vault.spin.internal:80"] {
            let outcome = through(tenant, "outbound", &format!("http://{host}{mark}")).await;
            assert_eq!(outcome, format!("200 status 200\n{tenant}"), "{host}");
        }
        let told = through(tenant, "outbound", "http://mirror.spin.internal/").await;
        assert!(told.starts_with("200 status 200\n") && !told.contains("waggle-user"), "{told}");
        assert!(!told.contains(&super::tenants::key_of(tenant)), "a credential was passed on: {told}");
    }
    for host in
        ["vault.good.spin.internal", "good.vault.spin.internal", "good.spin.internal", "nobody.spin.internal"]
    {
        let outcome = through(HOSTILE, "outbound", &format!("http://{host}{mark}")).await;
        assert!(outcome.starts_with("200 status 404"), "{host}: {outcome}");
    }
    for host in
        ["good@vault.spin.internal", "vault.spin.internal.", "spin.internal", "vault.spin.internal:81"]
    {
        let outcome = through(HOSTILE, "outbound", &format!("http://{host}{mark}")).await;
        assert!(!outcome.contains("\ngood"), "{host}: {outcome}");
    }
    // A function without leave to call, and a tenant without leave to use what it would call.
    let denied = through(HOSTILE, "shut-in", &format!("http://vault.spin.internal{mark}")).await;
    assert_eq!(denied, "200 error ErrorCode::HttpRequestDenied\n");
    let unknown = through("narrow", "outbound", &format!("http://vault.spin.internal{mark}")).await;
    assert!(unknown.starts_with("200 status 404"), "{unknown}");
    check_sound(&server, "calls between functions").await;
}

/// Sends bytes as they are and returns the status, or 0 where the connection was closed without one.
fn raw_status(server: &Server, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no answer's business.
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_authority_in_a_request_from_outside_leads_inside() {
    let server = start(vec![Function::guest("counter").named("vault").route("{ private = true }")], BOTH);
    let key = format!("authorization: Bearer {}\r\nconnection: close\r\n", super::tenants::key_of(HOSTILE));
    let check = |head: &str, expected: &[u16]| {
        let (status, answer) = raw_status(&server, &format!("{head}\r\n{key}\r\n"));
        assert!(expected.contains(&status), "{head:?}: {answer}");
        if status == 200 {
            assert!(answer.ends_with("hello\n"), "{head:?}: {answer}");
        }
    };
    check("GET /hello HTTP/1.1\r\nhost: localhost", &[200]);
    for host in ["vault.spin.internal", "self", "good", "good.localhost", "vault", "VAULT.SPIN.INTERNAL:80"] {
        check(&format!("GET / HTTP/1.1\r\nhost: {host}"), &[404]);
        check(&format!("GET /vault HTTP/1.1\r\nhost: {host}"), &[404]);
        check(&format!("GET http://{host}/ HTTP/1.1\r\nhost: localhost"), &[404]);
        check(&format!("GET http://{host}/hello HTTP/1.1\r\nhost: {host}"), &[200]);
        check(&format!("GET //{host}/ HTTP/1.1\r\nhost: {host}"), &[404]);
        check(&format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nx-forwarded-host: {host}"), &[200]);
        check(&format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nhost: {host}"), &[400]);
        check(&format!("CONNECT {host}:80 HTTP/1.1\r\nhost: {host}:80"), &[400, 404, 405, 501]);
    }
    check("GET /hello HTTP/1.1", &[400]);
    check("GET /hello HTTP/1.1\r\nhost: a, vault.spin.internal", &[400]);
    check("GET /hello HTTP/1.1\r\nhost: user@vault.spin.internal", &[400]);
    check("GET /hello HTTP/1.1\r\nhost: vault.spin.internal/x", &[400]);
    check("GET /hello HTTP/1.1\r\nhost : localhost", &[400]);
    check("GET /hello HTTP/1.1\r\nhost: localhost\r\n folded: x", &[400]);
    check("GET vault.spin.internal HTTP/1.1\r\nhost: localhost", &[400, 404]);
    check("OPTIONS * HTTP/1.1\r\nhost: vault.spin.internal", &[400, 404]);
    check("GET /../vault HTTP/1.1\r\nhost: localhost", &[404]);
    check("GET /hello/../vault HTTP/1.1\r\nhost: localhost", &[200, 404]);
    check_sound(&server, "authorities").await;
}
