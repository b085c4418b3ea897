//! Messages that are handed over whole: `waggle:http`, in both directions, and what still goes over `wasi:http`.

use crate::support::{Function, Server, Setup, client};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The longest body that is handed over whole.
const WHOLE_BYTES_MAX: usize = 64 << 10;

fn start() -> Server {
    let outbound = "allowed_outbound_hosts = [\"http://self\", \"http://127.0.0.1:*\"]";
    Setup::functions(&[Function::guest("whole").with(outbound)]).start()
}

async fn post(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let response = client().post(server.url(path)).header("x-own", "a").body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn short_requests_are_handed_over_whole_and_others_are_not() {
    let server = start();
    for length in [0, 1, WHOLE_BYTES_MAX] {
        let expected = format!("POST /whole/echo?a=b [x-own=a] {length} bytes");
        assert_eq!(post(&server, "/whole/echo?a=b", vec![b'x'; length]).await, (200, expected));
    }
    let told = post(&server, "/whole/echo", vec![b'x'; WHOLE_BYTES_MAX + 1]).await;
    assert_eq!(told, (200, format!("over wasi:http: {} bytes", WHOLE_BYTES_MAX + 1)));
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>("a piece")]);
    let told = post(&server, "/whole/echo", reqwest::Body::wrap_stream(pieces)).await;
    assert_eq!(told, (200, "over wasi:http: 7 bytes".to_owned()), "nobody said how long it is");
}

#[tokio::test]
async fn answers_are_what_they_say_and_nothing_of_the_hosts() {
    let server = start();
    let response = client().get(server.url("/whole/x")).send().await.unwrap();
    assert_eq!(response.headers()["x-way"], "whole");
    assert_eq!(response.headers()["content-length"], "23");
    assert_eq!(response.text().await.unwrap(), "GET /whole/x [] 0 bytes".to_owned());
    let response = client().get(server.url("/whole/no-content")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 204);
    assert!(!response.headers().contains_key("content-length"), "{:?}", response.headers());
    assert_eq!(post(&server, "/whole/streams", "").await, (200, "one two".to_owned()));
    for (trick, why) in [
        ("odd-status", "its status is 99"),
        ("host-field", "`transfer-encoding` is not a function's to set"),
        ("many-fields", "more than 65536 bytes"),
    ] {
        let (status, told) = post(&server, &format!("/whole/{trick}"), "").await;
        assert_eq!(status, 502, "{trick}: {told}");
        server.wait_for_output(why);
    }
    assert_eq!(post(&server, "/whole/trap", "").await.0, 500);
    assert_eq!(post(&server, "/whole/echo", "x").await.0, 200, "the next instance answers");
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_with_the_requests_time_and_disturbs_nobody() {
    let config = "[engine]\nrequest_timeout_ms = 1000\n";
    let server = Setup::functions(&[Function::guest("whole")]).runtime_config(config).start();
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(b"POST /whole/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    assert_eq!(post(&server, "/whole/echo", "x").await.0, 200, "others are served meanwhile");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(30), slow.read(&mut answer)).await.unwrap().unwrap();
    let head = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(head.starts_with("HTTP/1.1 504"), "{head}");
    assert_eq!(post(&server, "/whole/waits", "").await.0, 504, "and so does an answer that does not come");
    assert_eq!(post(&server, "/whole/echo", "x").await.0, 200);
}

/// A service that answers each connection with these bytes, and closes it.
async fn service(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/there", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _from)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _read = stream.read(&mut [0; 4096]).await;
                let _written = stream.write_all(&answer).await;
            });
        }
    });
    url
}

fn response(declared: usize, sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {declared}\r\n\r\n");
    [head.into_bytes(), vec![b'y'; sent]].concat()
}

async fn called(server: &Server, query: &str, url: &str, field: &str) -> String {
    let request = client().post(server.url(&format!("/whole/calls{query}"))).header("x-url", url);
    let request = request.header("x-field", field).body("said");
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response.text().await.unwrap()
}

#[tokio::test]
async fn answers_of_others_come_whole_when_they_are_short_and_wanted_so() {
    let server = start();
    let short = service(response(3, 3)).await;
    assert_eq!(called(&server, "?gather", &short, "x-field").await, "whole 200 yyy");
    assert_eq!(called(&server, "", &short, "x-field").await, "streamed 200 3 bytes");
    let pieces = b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
    assert_eq!(called(&server, "?gather", &service(pieces.to_vec()).await, "x-field").await, "whole 200 abc");
    let long = WHOLE_BYTES_MAX + 1;
    let told = called(&server, "?gather", &service(response(long, long)).await, "x-field").await;
    assert_eq!(told, format!("streamed 200 {long} bytes"));
    let told = called(&server, "?gather", &service(response(10, 5)).await, "x-field").await;
    assert!(told.starts_with("streamed, then"), "it has broken off: {told}");
    let own = "http://self/whole/echo";
    assert_eq!(
        called(&server, "?gather", own, "x-field").await,
        "whole 200 POST /whole/echo [x-field=value] 4 bytes"
    );
}

#[tokio::test]
async fn calls_that_cannot_be_made_say_why() {
    let server = start();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, field, told) in [
        ("/here", "x-a", "refused: its URL names no scheme and host"),
        ("http://a b/", "x-a", "refused: its URL cannot be read: invalid uri character"),
        ("http://a@127.0.0.1:1/", "x-a", "refused: its URL names a user"),
        (
            "http://127.0.0.1:1/",
            "connection",
            "refused: the header field `connection` is not a function's to set",
        ),
        ("http://127.0.0.1:1/", "a:b", "refused: `a:b` is no name of a header field"),
        ("http://elsewhere.example/", "x-a", "failed: ErrorCode::HttpRequestDenied"),
        (&format!("http://{silent}/"), "x-a", "failed: ErrorCode::ConnectionRefused"),
    ] {
        assert_eq!(called(&server, "?gather", url, field).await, told, "{url} {field}");
    }
}
