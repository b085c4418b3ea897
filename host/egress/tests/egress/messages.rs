//! What stands in a request when it reaches the upstream, and what of a response comes back.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use waggle_egress::{Credential, Egress, EgressConfig, Secret};

use crate::support::{Upstream, call, egress, failure, fetch, named, text, within};

#[tokio::test]
async fn the_request_line_has_path_and_query_and_the_host_is_that_of_the_url() {
    let upstream = Upstream::echoing().await;
    let request = Request::get(upstream.url("/a/b?c=d%20e"))
        .header("host", "elsewhere.example")
        .header("x-mine", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("proxy-authorization", "Basic x")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let head = text(within(egress().send(request, named())).await.unwrap()).await.unwrap();
    assert!(head.starts_with("GET /a/b?c=d%20e HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", upstream.address)), "{head}");
    assert!(head.contains("x-mine: 1\r\n"), "{head}");
    for absent in ["elsewhere", "x-hop", "connection", "proxy-authorization"] {
        assert!(!head.contains(absent), "{head} has {absent}");
    }
}

#[tokio::test]
async fn headers_of_the_connection_do_not_come_back() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 1\r\n\
                  transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let response = call(&egress(), &upstream.url("/")).await.unwrap();
    let names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["x-end"]);
}

#[tokio::test]
async fn a_redirect_is_returned_and_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let response = call(&egress(), &upstream.url("/")).await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_credential_reaches_its_own_upstream_only() {
    let (mine, other) = (Upstream::echoing().await, Upstream::echoing().await);
    let key = Secret::new("Bearer sk-real");
    let credential = Credential::new(&mine.url(""), "/v1", "authorization", &key).unwrap();
    let egress =
        Egress::new(EgressConfig { credentials: vec![credential], ..EgressConfig::default() }).unwrap();
    let send = async |url: String| {
        let request =
            Request::get(url).header("authorization", "Bearer guess").body(Empty::<Bytes>::new()).unwrap();
        text(within(egress.send(request, named())).await.unwrap()).await.unwrap()
    };
    let head = send(mine.url("/v1/chat")).await;
    assert!(head.contains("authorization: Bearer sk-real\r\n") && !head.contains("guess"), "{head}");
    for url in [mine.url("/v1x"), mine.url("/"), other.url("/v1/chat")] {
        let head = send(url).await;
        assert!(head.contains("authorization: Bearer guess\r\n") && !head.contains("sk-real"), "{head}");
    }
    assert_eq!(failure(&egress, &mine.url("/v1/%2e%2e/admin")).await, "HTTP-request-denied");
}

#[tokio::test]
async fn what_is_no_call_is_refused_before_any_connection() {
    let upstream = Upstream::echoing().await;
    let request = Request::connect(upstream.url("/")).body(Empty::<Bytes>::new()).unwrap();
    let error = within(egress().send(request, named())).await.unwrap_err();
    assert_eq!(error.code(), "HTTP-request-method-invalid");
    assert_eq!(failure(&egress(), "/no/host").await, "HTTP-request-URI-invalid");
    let with_user = format!("http://user:pass@{}/", upstream.address);
    assert_eq!(failure(&egress(), &with_user).await, "HTTP-request-URI-invalid");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_head_request_has_no_body_and_leaves_the_connection_usable() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let egress = egress();
    for _ in 0..2 {
        let request = Request::head(upstream.url("/")).body(Empty::<Bytes>::new()).unwrap();
        let response = within(egress.send(request, named())).await.unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(text(response).await.unwrap(), "");
    }
}

#[tokio::test]
async fn an_old_upstream_that_ends_the_body_by_closing_is_understood() {
    let upstream = Upstream::answering_once("HTTP/1.0 200 OK\r\n\r\nhello").await;
    assert_eq!(fetch(&egress(), &upstream.url("/")).await.unwrap(), "hello");
}
