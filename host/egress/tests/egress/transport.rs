//! Upstreams with roots, a version of HTTP, and credentials of their own.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use waggle_egress::upstream::{BaseUrl, CredentialConfig, CredentialSource, UpstreamConfig};
use waggle_egress::{
    Credential, CredentialPlace, Credentials, Egress, EgressConfig, EgressError, HttpVersion, ResponseBody,
    Secret, SendOptions, TransportProfile,
};

use crate::support::{Upstream, egress, get, named, text, until, within};
use crate::tls::{Authority, Here, http1_upstream, http2_upstream, https};

fn with(profile: &Arc<TransportProfile>) -> SendOptions {
    SendOptions { transport: Some(Arc::clone(profile)), ..named() }
}

async fn send(
    egress: &Egress,
    url: &str,
    options: SendOptions,
) -> Result<Response<ResponseBody>, EgressError> {
    within(egress.send(get(url), options)).await
}

/// Calls `url` and reads the answer to its end; returns it and the version it came by.
async fn fetch(egress: &Egress, url: &str, options: SendOptions) -> Result<(String, Version), EgressError> {
    let response = send(egress, url, options).await?;
    let version = response.version();
    Ok((text(response).await?, version))
}

async fn failure(egress: &Egress, url: &str, options: SendOptions) -> &'static str {
    fetch(egress, url, options).await.expect_err("the call should fail").code()
}

fn egress_here() -> Egress {
    Egress::with_resolver(EgressConfig::default(), Arc::new(Here)).unwrap()
}

/// An upstream that speaks HTTP/2 only, without TLS.
async fn plain_http2_upstream() -> Upstream {
    Upstream::start(|stream| async move {
        let service =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hi")))) });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    })
    .await
}

#[tokio::test]
async fn own_roots_are_trusted_by_calls_of_their_profile_only() {
    let authority = Authority::new();
    let upstream = http1_upstream(authority.acceptor("a.example", &["http/1.1"])).await;
    let egress = egress_here();
    let url = https(&upstream, "a.example", "/");
    let profile = egress.transport_profile(Some(&authority.file), HttpVersion::Auto).unwrap();
    assert_eq!(failure(&egress, &url, named()).await, "TLS-certificate-error");
    assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap().0, "hi");
    until("the connection is back", || egress.idle_connections() == 1).await;
    // The connection that waits in the pool was trusted by that profile, and nobody else's word is taken for it.
    assert_eq!(failure(&egress, &url, named()).await, "TLS-certificate-error");
    let other = egress.transport_profile(None, HttpVersion::Auto).unwrap();
    assert_eq!(failure(&egress, &url, with(&other)).await, "TLS-certificate-error");
    assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap().0, "hi");
}

#[tokio::test]
async fn own_roots_are_trusted_beside_those_of_every_call() {
    let (every, own) = (Authority::new(), Authority::new());
    let egress = every.egress();
    let profile = egress.transport_profile(Some(&own.file), HttpVersion::Auto).unwrap();
    for authority in [&every, &own] {
        let upstream = http1_upstream(authority.acceptor("a.example", &[])).await;
        let url = https(&upstream, "a.example", "/");
        assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap().0, "hi");
    }
}

#[tokio::test]
async fn a_roots_file_that_cannot_be_used_is_refused_by_its_key_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let error =
        egress().transport_profile(Some(&folder.path().join("ca.pem")), HttpVersion::Auto).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("roots_file: ") && message.contains("ca.pem"), "{message}");
}

#[tokio::test]
async fn profiles_share_no_connection_even_if_they_are_alike() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let egress = egress();
    let profile = || egress.transport_profile(None, HttpVersion::Http1).unwrap();
    let all = [named(), with(&profile()), with(&profile())];
    for round in 0..3 {
        for (index, options) in all.iter().enumerate() {
            assert_eq!(fetch(&egress, &upstream.url("/"), options.clone()).await.unwrap().0, "hi");
            let idle = if round == 0 { index + 1 } else { all.len() };
            until("the connection is back", || egress.idle_connections() == idle).await;
        }
    }
    assert_eq!(upstream.connections(), all.len());
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_without_tls_and_calls_share_a_connection() {
    let upstream = plain_http2_upstream().await;
    let egress = egress();
    let profile = egress.transport_profile(None, HttpVersion::Http2).unwrap();
    let url = upstream.url("/");
    assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap(), ("hi".to_owned(), Version::HTTP_2));
    let calls = (0..8).map(|_| fetch(&egress, &url, with(&profile)));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().0, "hi");
    }
    assert_eq!(upstream.connections(), 1);
    // Without the profile HTTP/1.1 is spoken, on a connection of its own, and not understood.
    assert!(fetch(&egress, &url, named()).await.is_err());
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http2_fails_a_call_that_wants_it() {
    let authority = Authority::new();
    let egress = authority.egress();
    let profile = egress.transport_profile(None, HttpVersion::Http2).unwrap();
    let table: [(&[&str], &str); 2] = [(&[], "HTTP-protocol-error"), (&["http/1.1"], "TLS-alert-received")];
    for (alpn, expected) in table {
        let upstream = http1_upstream(authority.acceptor("a.example", alpn)).await;
        let url = https(&upstream, "a.example", "/");
        assert_eq!(failure(&egress, &url, with(&profile)).await, expected, "{alpn:?}");
    }
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    assert!(fetch(&egress, &plain.url("/"), with(&profile)).await.is_err());
}

#[tokio::test]
async fn the_version_is_the_one_that_is_configured() {
    let authority = Authority::new();
    let http2 = http2_upstream(authority.acceptor("a.example", &["h2", "http/1.1"])).await;
    let egress = authority.egress();
    let url = https(&http2.upstream, "a.example", "/");
    for http in [HttpVersion::Auto, HttpVersion::Http2] {
        let profile = egress.transport_profile(None, http).unwrap();
        assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap().1, Version::HTTP_2);
    }
    let http1 = http1_upstream(authority.acceptor("a.example", &["h2", "http/1.1"])).await;
    let profile = egress.transport_profile(None, HttpVersion::Http1).unwrap();
    let url = https(&http1, "a.example", "/");
    assert_eq!(fetch(&egress, &url, with(&profile)).await.unwrap(), ("hi".to_owned(), Version::HTTP_11));
}

#[tokio::test]
async fn an_upstream_has_a_profile_only_where_it_differs() {
    let egress = egress();
    let at =
        |http| UpstreamConfig { http, ..UpstreamConfig::at(BaseUrl::parse("http://a.example").unwrap()) };
    assert!(at(HttpVersion::Auto).transport(&egress).unwrap().is_none());
    assert!(at(HttpVersion::Http2).transport(&egress).unwrap().is_some());
    let with_roots = UpstreamConfig { roots_file: Some("/nowhere/ca.pem".into()), ..at(HttpVersion::Auto) };
    assert!(with_roots.transport(&egress).unwrap_err().to_string().contains("/nowhere/ca.pem"));
}

#[tokio::test]
async fn the_key_of_an_upstream_is_put_on_and_the_tenants_own_goes_before_it() {
    let upstream = Upstream::echoing().await;
    let config = UpstreamConfig {
        credential: Some(CredentialConfig::bearer(CredentialSource::Environment("A".to_owned()))),
        ..UpstreamConfig::at(BaseUrl::parse(&upstream.url("/v1")).unwrap())
    };
    let key = config.credentials(&Secret::new("sk-upstream")).unwrap().map(Arc::new);
    let own =
        Credential::new(&upstream.url(""), "/", "authorization", &Secret::new("Bearer sk-tenant")).unwrap();
    let own = Some(Arc::new(Credentials::new(vec![own])));
    let check = async |options: SendOptions, path: &str, expected: &str| {
        let url = config.endpoints[0].url.join(path).unwrap();
        let request =
            Request::get(url).header("authorization", "Bearer guess").body(Empty::<Bytes>::new()).unwrap();
        let head = text(within(egress().send(request, options)).await.unwrap()).await.unwrap();
        assert!(head.contains(&format!("authorization: Bearer {expected}\r\n")), "{head}");
        assert_eq!(head.matches("authorization").count(), 1, "{head}");
    };
    let options = SendOptions { upstream_credentials: key.clone(), ..named() };
    check(options.clone(), "/chat", "sk-upstream").await;
    check(SendOptions { credentials: own, ..options }, "/chat", "sk-tenant").await;
    check(named(), "/chat", "guess").await;
}

#[tokio::test]
async fn a_key_in_the_query_reaches_the_upstream_and_does_not_come_back_in_a_redirect() {
    let redirect = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://b.example/v1/x/?a=1&key=sk%2F1\r\n\
                    content-length: 0\r\n\r\n";
    let (echoing, redirecting) = (Upstream::echoing().await, Upstream::answering(redirect).await);
    let egress = egress();
    let place = CredentialPlace::query("key").unwrap();
    let options = |upstream: &Upstream| {
        let credential = Credential::placed(&upstream.url(""), "/v1", &place, &Secret::new("sk/1")).unwrap();
        let credentials = Some(Arc::new(Credentials::new(vec![credential])));
        SendOptions { upstream_credentials: credentials, ..named() }
    };
    let (head, _) = fetch(&egress, &echoing.url("/v1/x?key=guess&a=1"), options(&echoing)).await.unwrap();
    assert!(head.starts_with("GET /v1/x?a=1&key=sk%2F1 HTTP/1.1\r\n"), "{head}");
    let (head, _) = fetch(&egress, &echoing.url("/v2/x?key=guess"), options(&echoing)).await.unwrap();
    assert!(head.starts_with("GET /v2/x?key=guess HTTP/1.1\r\n"), "{head}");
    let response = send(&egress, &redirecting.url("/v1/x?a=1"), options(&redirecting)).await.unwrap();
    assert_eq!(response.headers()["location"], "https://b.example/v1/x/?a=1");
    let denied = failure(&egress, &echoing.url("/v1/%2e%2e/admin"), options(&echoing)).await;
    assert_eq!(denied, "HTTP-request-denied");
}
