//! Starting and stopping: the screen, the errors, the drain.

use crate::support::{Server, Setup, client, failing_start, get, root, wait_until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const HELLO: &str = r#"
spin_manifest_version = 2
[application]
name = "hello"
[[trigger.http]]
route = "/hello"
component = "hello"
[component.hello]
source = "HELLO"
"#;

fn hello() -> Setup {
    crate::support::build_functions();
    let component = root().join("target/wasm32-wasip2/function/hello.wasm");
    Setup::manifest(&HELLO.replace("HELLO", component.to_str().unwrap()))
}

#[tokio::test]
async fn the_screen_names_routes_model_store_and_the_next_step() {
    let server = Setup::application().start();
    // The last line comes after the one by which the server is known to serve.
    wait_until("the screen is complete", || server.output().contains("Next: curl"));
    let screen = server.output();
    for expected in ["/v1/...", "/hello", "DEMO", "embedded"] {
        assert!(screen.contains(expected), "{expected} is missing in:\n{screen}");
    }
    let (status, body) = get(&client(), &server.url("/hello")).await;
    assert_eq!((status, body.as_str()), (200, Some("hello\n")));
}

#[tokio::test]
async fn the_key_of_the_model_appears_nowhere() {
    let server = Setup::application()
        .env("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        .env("OPENAI_API_KEY", "sk-canary-1234567890")
        .args(&["--variable", "fallback=error"])
        .start();
    let body = serde_json::json!({"input": "hi"});
    let (status, answer) = crate::support::post(&client(), &server.url("/v1/responses"), &body).await;
    assert!(status >= 500, "{status} {answer}");
    assert!(!answer.to_string().contains("canary"), "{answer}");
    assert!(!server.output().contains("canary"), "{}", server.output());
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = failing_start(&hello().args(&["--listen", &address]));
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
}

#[test]
fn a_missing_component_points_into_the_manifest() {
    let error = failing_start(&Setup::manifest(&HELLO.replace("HELLO", "nowhere.wasm")));
    for expected in ["spin.toml:9:", "nowhere.wasm", "waggle build"] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

#[test]
fn every_mistake_of_a_manifest_is_reported_in_one_go() {
    let text = HELLO.replace("route =", "rute =").replace("component = \"hello\"", "component = \"helo\"");
    let error = failing_start(&Setup::manifest(&text));
    assert!(error.contains("rute") && error.contains("helo"), "{error}");
}

#[test]
fn a_state_folder_in_use_by_another_process_is_refused() {
    let server = Setup::application().start();
    let state = server.setup.folder().join("state");
    let error = failing_start(&Setup::application().args(&["--state-dir", state.to_str().unwrap()]));
    assert!(error.contains("store `default`") && error.contains("is in use by process"), "{error}");
}

#[test]
fn a_store_file_that_is_no_store_is_refused_with_its_name() {
    let setup = Setup::application();
    let store = setup.folder().join("state/store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("something"), b"not a store").unwrap();
    let error = failing_start(&setup);
    assert!(error.contains("store `default`") && error.contains("state/store"), "{error}");
}

#[test]
fn a_component_that_is_none_is_refused_with_what_it_is() {
    let check = |bytes: &[u8], expected: &str| {
        let setup = Setup::manifest(&HELLO.replace("HELLO", "it.wasm"));
        std::fs::write(setup.folder().join("it.wasm"), bytes).unwrap();
        let error = failing_start(&setup);
        assert!(error.contains("function `hello`") && error.contains(expected), "{error}");
    };
    check(b"<!doctype html><title>404</title>", "is not WebAssembly");
    check(b"\0asm", "has only 4 bytes");
    check(b"\0asm\x01\0\0\0", "core WebAssembly module");
    check(b"\0asm\x0d\0\x01\0\xff\xff", "does not compile");
    check(b"\0asm\x0d\0\x01\0", "exports no HTTP handler");
}

/// Sends a turn and returns its connection when the model has it.
fn turn_under_way(server: &Server, input: &str) -> TcpStream {
    let body = format!(r#"{{"input":"{input}"}}"#);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    // It takes the demo model far less than its delay to have the request.
    std::thread::sleep(std::time::Duration::from_millis(200));
    stream
}

#[tokio::test]
async fn sigterm_finishes_what_is_under_way_and_exits_0() {
    let mut server = Setup::application().start();
    let mut stream = turn_under_way(&server, "[sim: first_token_ms=700 tokens=3] slow");
    server.signal("TERM");
    server.wait_for_output("stopping");
    wait_until("the listener to close", || TcpStream::connect(server.address()).is_err());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"status\":\"completed\""), "{answer}");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Setup::application().start();
    let _stream = turn_under_way(&server, "[sim: fault=hang] never");
    server.signal("TERM");
    server.wait_for_output("stopping");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(143));
}
