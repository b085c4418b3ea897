//! What Spin promises a function, kept by this host: header fields, private routes, the allow-list, key-value stores,
//! variables, files, both generations of WASI, the reuse of instances, TLS.

use crate::support::{
    Function, Server, Setup, client, client_builder, eventually, failing_start, get, get_text,
};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The fields the function was given, by name.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(": ")).collect()
}

async fn text(server: &Server, path: &str) -> (u16, String) {
    get_text(&client(), &server.url(path)).await
}

#[tokio::test]
async fn a_function_is_told_how_it_was_reached() {
    let server = Setup::functions(&[
        Function::guest("headers-echo").route("\"/echo/...\""),
        Function::guest("headers-echo").named("exact").route("\"/exact\""),
        Function::guest("headers-echo").named("user").route("\"/users/:userId/notes/:note/...\""),
    ])
    .start();
    let check = async |path: &str, expected: &[(&str, &str)]| {
        let (status, text) = text(&server, path).await;
        assert_eq!(status, 200, "{path}: {text}");
        let fields = fields(&text);
        for (name, value) in expected {
            assert_eq!(fields.get(name), Some(value), "{path}, {name} in {text}");
        }
        let address = fields["spin-client-addr"];
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        assert_eq!(fields["spin-full-url"], server.url(path));
        assert_eq!(fields["spin-base-path"], "/");
    };
    check(
        "/echo/a/b?c=d",
        &[
            ("spin-path-info", "/a/b"),
            ("spin-matched-route", "/echo/..."),
            ("spin-component-route", "/echo"),
            ("spin-raw-component-route", "/echo/..."),
        ],
    )
    .await;
    check("/echo", &[("spin-path-info", ""), ("spin-matched-route", "/echo/...")]).await;
    check("/exact", &[("spin-path-info", ""), ("spin-matched-route", "/exact")]).await;
    check(
        "/users/ada/notes/7/more",
        &[
            ("spin-path-info", "/more"),
            ("spin-path-match-userid", "ada"),
            ("spin-path-match-note", "7"),
            ("spin-matched-route", "/users/:userId/notes/:note/..."),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_caller_can_forge_no_field_of_the_host() {
    let server = Setup::functions(&[Function::guest("headers-echo")]).start();
    let forged = [
        "spin-client-addr",
        "spin-full-url",
        "spin-anything",
        "waggle-tenant",
        "waggle-user",
        "waggle-request-id",
    ];
    let mut request = client().get(server.url("/headers-echo/")).header("x-own", "kept");
    for name in forged {
        request = request.header(name, "forged");
    }
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("forged"), "{text}");
    assert_eq!(fields(&text)["x-own"], "kept");
    assert!(fields(&text)["waggle-request-id"].starts_with("req_"), "{text}");
}

#[test]
fn fields_of_the_connection_never_pass() {
    let server = Setup::functions(&[Function::guest("headers-echo")]).start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "GET /headers-echo/ HTTP/1.1\r\nhost: x\r\nconnection: close, X-Mine\r\nx-mine: hop\r\nkeep-alive: hop\r\n\
         te: trailers\r\nproxy-authorization: hop\r\nproxy-connection: hop\r\nupgrade: hop\r\nhttp2-settings: hop\r\n\
         x-own: kept\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!body.contains("hop") && !body.contains("trailers"), "{body}");
    assert!(body.contains("x-own: kept"), "{body}");
}

/// `chain-a` may call the private `chain-b` and itself, `loner` nobody.
fn chain() -> Server {
    Setup::functions(&[
        Function::guest("outbound")
            .named("chain-a")
            .with("allowed_outbound_hosts = [\"http://chain-b.spin.internal\", \"http://self\"]"),
        Function::guest("headers-echo").named("chain-b").route("{ private = true }"),
        Function::guest("outbound").named("loner"),
        Function::guest("counter"),
    ])
    .start()
}

async fn call(server: &Server, function: &str, url: &str) -> String {
    let request =
        client().get(server.url(&format!("/{function}/"))).header("x-url", url).header("x-forge", "forged");
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_private_function_is_reached_by_other_functions_only() {
    let server = chain();
    for path in ["/chain-b", "/chain-b/", "/chain-b/a"] {
        assert_eq!(text(&server, path).await.0, 404, "{path}");
    }
    let answer = call(&server, "chain-a", "http://chain-b.spin.internal/a/b?c").await;
    assert!(answer.starts_with("status 200\n"), "{answer}");
    let fields = fields(&answer);
    assert_eq!(fields["spin-path-info"], "/a/b", "{answer}");
    assert!(!answer.contains("forged"), "a function forged a field of the host: {answer}");
    assert!(fields["waggle-request-id"].starts_with("req_"), "{answer}");
}

#[tokio::test]
async fn a_function_calls_its_own_application() {
    let server = chain();
    assert_eq!(call(&server, "chain-a", "http://self/counter/").await, "status 200\n1");
    assert_eq!(call(&server, "chain-a", "/counter/").await, "status 200\n2");
    assert!(call(&server, "chain-a", "http://self/nowhere").await.starts_with("status 404\n"));
    assert!(call(&server, "chain-a", "http://self/chain-b/").await.starts_with("status 404\n"));
    assert!(call(&server, "chain-a", "http://counter.spin.internal/").await.starts_with("error"));
}

#[tokio::test]
async fn what_is_not_on_the_allow_list_is_denied_and_the_log_says_what_to_add() {
    let server = chain();
    let own = server.url("/counter/");
    for (url, destination) in [
        ("http://example.com/x", "http://example.com:80"),
        ("https://example.com:8443/x", "https://example.com:8443"),
        ("http://169.254.169.254/latest/meta-data", "http://169.254.169.254:80"),
        ("http://chain-b.spin.internal/", "http://chain-b.spin.internal"),
        (&own, own.trim_end_matches("/counter/")),
    ] {
        let answer = call(&server, "loner", url).await;
        assert_eq!(answer, "error ErrorCode::HttpRequestDenied\n", "{url}");
        let told = |line: &str| {
            line.contains("allowed_outbound_hosts") && line.contains("loner") && line.contains(destination)
        };
        eventually(&format!("{destination} in the log"), || server.output().lines().any(told)).await;
    }
}

#[tokio::test]
async fn calls_of_a_0_2_function_are_checked_alike() {
    let server = Setup::functions(&[
        Function::guest("outbound-p2").with("allowed_outbound_hosts = [\"http://self\"]"),
        Function::guest("counter"),
    ])
    .start();
    let check = async |authority: &str, expected: &str| {
        assert_eq!(text(&server, &format!("/outbound-p2/?{authority}")).await, (200, expected.to_owned()));
    };
    check("self", "status 200").await;
    check("counter.spin.internal", "error ErrorCode::HttpRequestDenied").await;
    check(&server.address(), "error ErrorCode::HttpRequestDenied").await;
    check("169.254.169.254", "error ErrorCode::HttpRequestDenied").await;
    server.wait_for_output("http://169.254.169.254:80");
}

#[tokio::test]
async fn a_wildcard_does_not_open_the_private_network() {
    let function =
        |hosts: &str| Function::guest("outbound").with(&format!("allowed_outbound_hosts = [{hosts}]"));
    let target = Setup::functions(&[Function::guest("counter")]).start();
    let url = target.url("/counter/");
    let server = Setup::functions(&[
        function("\"*://*:*\"").named("wild"),
        function(&format!("\"http://{}\"", target.address())).named("literal"),
    ])
    .start();
    assert_eq!(call(&server, "wild", &url).await, "error ErrorCode::DestinationIpProhibited\n");
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_eq!(call(&server, "wild", &by_name).await, "error ErrorCode::DestinationIpProhibited\n");
    assert_eq!(call(&server, "literal", &url).await, "status 200\n1");
}

fn stores() -> Server {
    Setup::functions(&[
        Function::guest("kv-probe").with("key_value_stores = [\"default\", \"second\"]"),
        Function::guest("kv-probe").named("without"),
    ])
    .runtime_config("[key_value_store.second]\ntype = \"embedded\"\n")
    .start()
}

#[tokio::test]
async fn the_three_interfaces_see_the_same_store() {
    let server = stores();
    let done = async |what: &str| {
        let (status, text) = text(&server, &format!("/kv-probe/{what}")).await;
        assert_eq!(status, 200, "{what}: {text}");
        text
    };
    let interfaces = ["spin3", "spin2", "wasi"];
    for writer in interfaces {
        assert_eq!(done(&format!("{writer}/exists?key={writer}")).await, "false");
        assert_eq!(done(&format!("{writer}/get?key={writer}")).await, "none");
        assert_eq!(done(&format!("{writer}/set?key={writer}&value=by-{writer}")).await, "done");
        for reader in interfaces {
            assert_eq!(done(&format!("{reader}/get?key={writer}")).await, format!("by-{writer}"));
            assert_eq!(done(&format!("{reader}/exists?key={writer}")).await, "true");
            assert_eq!(done(&format!("{reader}/get?key={writer}&store=second")).await, "none");
        }
    }
    for reader in interfaces {
        assert_eq!(done(&format!("{reader}/keys")).await, "spin2,spin3,wasi");
    }
    for reader in interfaces {
        assert_eq!(done(&format!("{reader}/delete?key={reader}")).await, "done");
        assert_eq!(done(&format!("{reader}/delete?key={reader}")).await, "done");
    }
    assert_eq!(done("spin3/keys").await, "");
}

#[tokio::test]
async fn batches_counters_and_swaps_work() {
    let server = stores();
    let check = async |what: &str, expected: &str| {
        assert_eq!(
            text(&server, &format!("/kv-probe/wasi/{what}")).await,
            (200, expected.to_owned()),
            "{what}"
        );
    };
    check("many?key=m", "v1,v2,v3,none then v1,none,v3,none").await;
    check("increment?key=n", "5").await;
    check("increment?key=n", "10").await;
    check("swap?key=s&value=first", "swapped none").await;
    check("swap?key=s&value=second", "swapped first").await;
    check("swap-late?key=s&value=third", "failed: second became in between; again: true").await;
    check("get?key=s", "third").await;
    check("set?key=w&value=word", "done").await;
    let (status, error) = text(&server, "/kv-probe/wasi/increment?key=w").await;
    assert_eq!(status, 409, "{error}");
}

#[tokio::test]
async fn counting_up_at_the_same_time_loses_nothing() {
    let server = stores();
    let client = client();
    let url = server.url("/kv-probe/wasi/increment?key=together");
    let mut seen: Vec<u64> =
        join_all((0..40).map(|_| async { get_text(&client, &url).await.1.parse().unwrap() })).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=40).map(|number| number * 5).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_was_not_given_cannot_be_opened() {
    let server = stores();
    for interface in ["spin3", "spin2", "wasi"] {
        for (function, store) in
            [("without", "default"), ("kv-probe", "third"), ("kv-probe", ""), ("kv-probe", "..")]
        {
            let (status, error) =
                text(&server, &format!("/{function}/{interface}/get?key=x&store={store}")).await;
            assert_eq!(status, 409, "{function} {interface} {store}: {error}");
            assert!(error.contains("NoSuchStore") || error.contains("AccessDenied"), "{error}");
        }
    }
}

#[test]
fn a_store_that_is_not_configured_stops_the_start() {
    let setup = Setup::functions(&[Function::guest("kv-probe").with("key_value_stores = [\"sessions\"]")]);
    let error = failing_start(&setup);
    for expected in ["spin.toml:", "sessions", "--runtime-config-file"] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

const VARIABLES: &str = r#"
[variables]
tone = { default = "kind" }
region = { required = true }
token = { required = true, secret = true }
"#;

fn with_variables() -> Setup {
    let given = "variables = { tone = \"{{ tone }}\", place = \"in {{ region }}\", token = \"{{ token }}\" }";
    let setup = Setup::functions(&[
        Function::guest("variables-probe").with(given),
        Function::guest("variables-probe").named("without"),
    ]);
    let path = setup.folder().join("spin.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + VARIABLES).unwrap();
    setup
}

#[tokio::test]
async fn variables_come_from_flag_environment_and_default() {
    let server = with_variables()
        .args(&["--variable", "region=north"])
        .env("SPIN_VARIABLE_REGION", "south")
        .env("SPIN_VARIABLE_TOKEN", "canary-token")
        .start();
    for interface in ["spin3", "spin2", "config"] {
        let check = async |name: &str, status: u16, expected: &str| {
            let (was, text) = text(&server, &format!("/variables-probe/{interface}?{name}")).await;
            assert_eq!(was, status, "{interface} {name}: {text}");
            assert!(text.contains(expected), "{interface} {name}: {text}");
        };
        check("tone", 200, "kind").await;
        check("place", 200, "in north").await;
        check("token", 200, "canary-token").await;
        // An application variable that the component was not given is not there.
        check("region", 404, if interface == "config" { "none" } else { "Undefined" }).await;
        check("Region", 404, if interface == "config" { "none" } else { "InvalidName" }).await;
        assert_eq!(text(&server, &format!("/without/{interface}?tone")).await.0, 404);
    }
    let all = text(&server, "/variables-probe/config-all").await;
    assert_eq!(all, (200, "place=in north\ntoken=canary-token\ntone=kind\n".to_owned()));
    assert!(!server.output().contains("canary-token"), "{}", server.output());
}

#[test]
fn every_required_variable_that_has_no_value_is_named() {
    let error = failing_start(&with_variables());
    for expected in ["region", "token", "SPIN_VARIABLE_REGION", "--variable"] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

fn with_files() -> Server {
    let setup = Setup::functions(&[
        Function::guest("env-and-files")
            .with("files = [{ source = \"data\", destination = \"/data\" }, \"notes/*.txt\"]")
            .with("environment = { COLOUR = \"blue\" }"),
        Function::guest("env-and-files").named("bare"),
    ])
    .args(&["--env", "SEASON=winter"])
    .env("HOST_SECRET", "canary-environment");
    for (path, content) in
        [("data/file.txt", "in data"), ("notes/one.txt", "a note"), ("notes/two.md", "no"), ("s", "s")]
    {
        let path = setup.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    setup.start()
}

#[tokio::test]
async fn the_environment_is_what_the_manifest_and_the_flags_say() {
    let server = with_files();
    let (_, environment) = text(&server, "/env-and-files/env").await;
    let mut lines: Vec<&str> = environment.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["COLOUR=blue", "SEASON=winter"]);
    assert_eq!(text(&server, "/bare/env").await.1, "SEASON=winter\n");
}

#[tokio::test]
async fn files_are_read_and_never_written() {
    let server = with_files();
    assert_eq!(text(&server, "/env-and-files/read?/data/file.txt").await, (200, "in data".to_owned()));
    assert_eq!(text(&server, "/env-and-files/read?/notes/one.txt").await, (200, "a note".to_owned()));
    for refused in [
        "read?/notes/two.md",
        "read?/data/../s",
        "read?/data/../../s",
        "read?/etc/passwd",
        "read?/../../../../../../etc/passwd",
        "write?/data/file.txt",
        "write?/data/new.txt",
        "write?/notes/one.txt",
        "write?/new.txt",
        "remove?/data/file.txt",
    ] {
        let (status, answer) = text(&server, &format!("/env-and-files/{refused}")).await;
        assert_eq!(status, 403, "{refused}: {answer}");
    }
    let (status, answer) = text(&server, "/bare/read?/data/file.txt").await;
    assert_eq!(status, 403, "{answer}");
    let file = server.setup.folder().join("data/file.txt");
    assert_eq!(fs::read_to_string(file).unwrap(), "in data");
    assert!(!server.setup.folder().join("data/new.txt").exists());
}

#[tokio::test]
async fn sockets_are_closed_unless_the_address_is_on_the_list() {
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap();
    // A port that nobody listens on: to be allowed to call an address is not to be allowed to take it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Setup::functions(&[
        Function::guest("env-and-files"),
        Function::guest("env-and-files").named("wild").with("allowed_outbound_hosts = [\"http://*:*\"]"),
        Function::guest("env-and-files")
            .named("listed")
            .with(&format!("allowed_outbound_hosts = [\"*://{address}\", \"*://{free}\"]")),
    ])
    .start();
    assert_eq!(text(&server, &format!("/listed/connect?{address}")).await, (200, "connected".to_owned()));
    for path in [
        format!("/env-and-files/connect?{address}"),
        format!("/wild/connect?{address}"),
        format!("/wild/send?{address}"),
        format!("/listed/listen?{free}"),
        "/listed/listen?127.0.0.1:0".to_owned(),
        "/listed/listen?0.0.0.0:0".to_owned(),
    ] {
        let (status, answer) = text(&server, &path).await;
        assert_eq!(status, 403, "{path}: {answer}");
    }
}

#[tokio::test]
async fn instances_of_wasi_0_3_are_reused_and_those_of_0_2_are_not() {
    let server = Setup::functions(&[Function::guest("counter"), Function::guest("hello-p2")]).start();
    for served in 1..=5 {
        assert_eq!(text(&server, "/counter/").await, (200, served.to_string()));
        assert_eq!(text(&server, "/hello-p2/a/b").await, (200, "request 1 at /a/b".to_owned()));
    }
}

#[tokio::test]
async fn an_instance_is_replaced_when_it_has_served_its_share() {
    let server =
        Setup::functions(&[Function::guest("counter")]).args(&["--max-instance-reuse-count", "2"]).start();
    let mut served = Vec::new();
    for _ in 0..5 {
        served.push(text(&server, "/counter/").await.1);
    }
    assert_eq!(served, ["1", "2", "1", "2", "1"]);
}

#[tokio::test]
async fn an_idle_instance_is_dropped() {
    let server =
        Setup::functions(&[Function::guest("counter")]).args(&["--idle-instance-timeout", "150ms"]).start();
    assert_eq!(text(&server, "/counter/").await.1, "1");
    let until = Instant::now() + crate::support::PATIENCE;
    let mut pause = Duration::from_millis(200);
    // How long the host takes beyond its time-out is its own affair, so the pauses grow until one is long enough.
    while text(&server, "/counter/").await.1 != "1" {
        assert!(Instant::now() < until, "the instance is kept though it is idle");
        tokio::time::sleep(pause).await;
        pause += pause / 2;
    }
}

#[tokio::test]
async fn one_instance_serves_several_requests_at_the_same_time() {
    let setup = |concurrent: &str| {
        let functions = [Function::guest("sleeper")];
        Setup::functions(&functions).args(&["--max-instance-concurrent-reuse-count", concurrent])
    };
    // The guest itself tells the most requests its instance ever had at once, so no clock is needed.
    let most = async |server: &Server| {
        let client = client();
        let asked = (0..4)
            .map(|_| async { get_text(&client, &server.url("/sleeper/?ms=300")).await.1.parse().unwrap() });
        join_all(asked).await.into_iter().max().unwrap_or(0_u64)
    };
    let together = setup("16").start();
    assert!(most(&together).await >= 2, "no two requests were in one instance at once");
    let apart = setup("1").start();
    assert_eq!(most(&apart).await, 1);
}

struct Tls {
    setup: Setup,
    root: reqwest::Certificate,
}

impl Tls {
    fn new() -> Self {
        let setup = Setup::functions(&[Function::hello(), Function::guest("headers-echo")]);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let (certificate, key) = (setup.folder().join("cert.pem"), setup.folder().join("key.pem"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let args = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        Self { setup: setup.args(&args), root }
    }
}

#[tokio::test]
async fn tls_serves_http_1_and_http_2() {
    let Tls { setup, root } = Tls::new();
    let server = setup.start();
    assert!(server.url("/").starts_with("https://"), "{}", server.url("/"));
    let trusting = || client_builder().tls_certs_only([root.clone()]);
    for (client, version) in [
        (trusting().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
        (trusting().build().unwrap(), reqwest::Version::HTTP_2),
    ] {
        let response = client.get(server.url("/hello")).send().await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (version, 200));
        assert_eq!(response.text().await.unwrap(), "hello\n");
        let (_, told) = get_text(&client, &server.url("/headers-echo/a")).await;
        assert_eq!(fields(&told)["spin-full-url"], server.url("/headers-echo/a"), "{version:?}");
    }
    let stranger = client_builder().build().unwrap();
    assert!(stranger.get(server.url("/hello")).send().await.is_err(), "a certificate of nobody was trusted");
    let mut plain = TcpStream::connect(server.address()).unwrap();
    plain.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP was served on the port of TLS");
    assert_eq!(get(&trusting().build().unwrap(), &server.url("/hello")).await.0, 200);
}

#[test]
fn a_certificate_or_key_that_is_none_stops_the_start_with_its_name() {
    for (file, content) in [("cert.pem", "not a certificate"), ("key.pem", "not a key")] {
        let Tls { setup, .. } = Tls::new();
        fs::write(setup.folder().join(file), content).unwrap();
        let error = failing_start(&setup);
        assert!(error.contains(file), "{error}");
    }
    let Tls { setup, .. } = Tls::new();
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(setup.folder().join("key.pem"), other.serialize_pem()).unwrap();
    let error = failing_start(&setup);
    assert!(error.contains("certificate") && error.contains("key"), "{error}");
}
