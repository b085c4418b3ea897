//! Upstreams that are not there, or break off, or do not speak HTTP.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::{Upstream, call, egress, failure, fetch, read_head, text};

#[tokio::test]
async fn a_port_where_nobody_listens_is_connection_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(failure(&egress(), &format!("http://{address}/")).await, "connection-refused");
}

#[tokio::test]
async fn an_upstream_that_hangs_up_without_an_answer_is_connection_terminated() {
    let upstream = Upstream::answering_once("").await;
    assert_eq!(failure(&egress(), &upstream.url("/")).await, "connection-terminated");
}

#[tokio::test]
async fn an_upstream_that_resets_is_connection_terminated() {
    let upstream = Upstream::start(|mut stream| async move {
        read_head(&mut stream).await;
        // Closing with a linger of zero sends a reset instead of an end.
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(failure(&egress(), &upstream.url("/")).await, "connection-terminated");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "<html>no head</html>\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let upstream = Upstream::answering_once(answer).await;
        assert_eq!(failure(&egress(), &upstream.url("/")).await, "HTTP-protocol-error", "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_incomplete_response_after_what_came() {
    let table = [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegin",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nbegin",
    ];
    for answer in table {
        let upstream = Upstream::answering_once(answer).await;
        let response = call(&egress(), &upstream.url("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await.unwrap_err().code(), "HTTP-response-incomplete", "{answer:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let many = |count: usize| {
        let headers: String = (0..count).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n")
    };
    let long = |bytes: usize| {
        format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(bytes))
    };
    let table = [many(101), many(10_000), long(65 * 1024), long(1024 * 1024)];
    for answer in table {
        let upstream = Upstream::answering_once(answer.clone()).await;
        let code = failure(&egress(), &upstream.url("/")).await;
        assert_eq!(code, "HTTP-response-header-section-size", "{} bytes", answer.len());
    }
    for answer in [many(100), long(60 * 1024)] {
        let upstream = Upstream::answering_once(answer).await;
        assert_eq!(fetch(&egress(), &upstream.url("/")).await.unwrap(), "");
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_refused() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    let upstream = Upstream::answering_once(answer).await;
    let code = failure(&egress(), &upstream.url("/")).await;
    assert!(["HTTP-upgrade-failed", "HTTP-protocol-error"].contains(&code), "{code}");
}

#[tokio::test]
async fn an_error_page_passes_as_it_is() {
    let page = "<html><body>Bad Gateway</body></html>";
    let answer = format!(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    );
    let upstream = Upstream::answering(answer).await;
    let response = call(&egress(), &upstream.url("/")).await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(text(response).await.unwrap(), page);
}

#[tokio::test]
async fn an_interim_response_is_skipped() {
    let upstream = Upstream::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    })
    .await;
    assert_eq!(fetch(&egress(), &upstream.url("/")).await.unwrap(), "hi");
}
