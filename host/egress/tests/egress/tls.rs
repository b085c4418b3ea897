//! TLS: trust, names, and HTTP/2 where the upstream offers it.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use waggle_egress::{Egress, EgressConfig, Resolve, ResolveFuture};

use crate::support::{Upstream, call, egress, failure, fetch, read_head, text, until, within};

/// A certificate authority of our own, and its certificate in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
    _folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file, _folder: folder }
    }

    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// An egress that trusts this authority and finds every name on this machine.
    pub(crate) fn egress(&self) -> Egress {
        let config = EgressConfig { extra_roots_file: Some(self.file.clone()), ..EgressConfig::default() };
        Egress::with_resolver(config, Arc::new(Here)).unwrap()
    }
}

/// Finds every name on this machine.
#[derive(Debug)]
pub(crate) struct Here;

impl Resolve for Here {
    fn resolve(&self, _host: &str) -> ResolveFuture {
        Box::pin(async { io::Result::Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// An upstream over TLS that answers each request, over HTTP/1.1, with "hi".
pub(crate) async fn http1_upstream(acceptor: TlsAcceptor) -> Upstream {
    Upstream::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hi")))) });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

type BoxBody = UnsyncBoxBody<Bytes, Infallible>;

/// The response of the HTTP/2 upstream: "hi", or at /endless a body that tells when nobody reads it any more.
fn http2_response(path: &str, gone: &watch::Sender<bool>) -> Response<BoxBody> {
    let mut response = match path {
        "/endless" => {
            let (sender, receiver) = mpsc::channel::<Bytes>(1);
            let gone = gone.clone();
            tokio::spawn(async move {
                let _ = sender.send(Bytes::from("begin")).await;
                sender.closed().await;
                gone.send_replace(true);
            });
            let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
                Some((Ok(Frame::data(receiver.recv().await?)), receiver))
            });
            Response::new(StreamBody::new(pieces).boxed_unsync())
        }
        _ => Response::new(Full::new(Bytes::from("hi")).boxed_unsync()),
    };
    let headers = if path == "/many" { 150 } else { 1 };
    for number in 0..headers {
        let name: http::HeaderName = format!("x-{number}").parse().unwrap();
        response.headers_mut().insert(name, "y".parse().unwrap());
    }
    response
}

async fn serve_http2(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    gone: watch::Sender<bool>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        seen.lock().unwrap().push(request.uri().to_string());
        let response = http2_response(request.uri().path(), &gone);
        async { Ok::<_, Infallible>(response) }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

pub(crate) struct Http2Upstream {
    pub(crate) upstream: Upstream,
    gone: watch::Receiver<bool>,
    seen: Arc<Mutex<Vec<String>>>,
}

pub(crate) async fn http2_upstream(acceptor: TlsAcceptor) -> Http2Upstream {
    let (sender, gone) = watch::channel(false);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let uris = Arc::clone(&seen);
    let upstream = Upstream::start(move |stream| {
        serve_http2(acceptor.clone(), stream, sender.clone(), Arc::clone(&uris))
    })
    .await;
    Http2Upstream { upstream, gone, seen }
}

pub(crate) fn https(upstream: &Upstream, host: &str, path: &str) -> String {
    format!("https://{host}:{}{path}", upstream.address.port())
}

#[tokio::test]
async fn a_certificate_of_an_extra_root_is_trusted_and_the_connection_kept() {
    let authority = Authority::new();
    let upstream = http1_upstream(authority.acceptor("a.example", &["http/1.1"])).await;
    let egress = authority.egress();
    for _ in 0..3 {
        assert_eq!(fetch(&egress, &https(&upstream, "a.example", "/")).await.unwrap(), "hi");
        until("the connection is back", || egress.idle_connections() == 1).await;
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_certificate_error() {
    let authority = Authority::new();
    let upstream = http1_upstream(authority.acceptor("a.example", &[])).await;
    let egress = Egress::with_resolver(EgressConfig::default(), Arc::new(Here)).unwrap();
    assert_eq!(failure(&egress, &https(&upstream, "a.example", "/")).await, "TLS-certificate-error");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_certificate_error() {
    let authority = Authority::new();
    let upstream = http1_upstream(authority.acceptor("a.example", &[])).await;
    let error = call(&authority.egress(), &https(&upstream, "b.example", "/")).await.unwrap_err();
    assert_eq!(error.code(), "TLS-certificate-error");
    assert!(error.to_string().contains("b.example"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_an_address_serves_a_url_with_that_address() {
    let authority = Authority::new();
    let upstream = http1_upstream(authority.acceptor("127.0.0.1", &[])).await;
    assert_eq!(fetch(&authority.egress(), &https(&upstream, "127.0.0.1", "/")).await.unwrap(), "hi");
}

#[tokio::test]
async fn a_port_that_speaks_plain_http_is_a_tls_protocol_error() {
    let upstream = Upstream::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        read_head(&mut stream).await;
    })
    .await;
    assert_eq!(failure(&egress(), &https(&upstream, "127.0.0.1", "/")).await, "TLS-protocol-error");
}

#[tokio::test]
async fn an_upstream_that_hangs_up_during_the_handshake_is_connection_terminated() {
    let upstream = Upstream::start(|stream| async move { drop(stream) }).await;
    assert_eq!(failure(&egress(), &https(&upstream, "127.0.0.1", "/")).await, "connection-terminated");
}

#[tokio::test]
async fn http2_is_spoken_where_offered_and_calls_share_one_connection() {
    let authority = Authority::new();
    let http2 = http2_upstream(authority.acceptor("a.example", &["h2", "http/1.1"])).await;
    let egress = authority.egress();
    let url = |path| https(&http2.upstream, "a.example", path);
    let first = call(&egress, &url("/first?x=1")).await.unwrap();
    assert_eq!(first.version(), http::Version::HTTP_2);
    let rest = futures::future::join_all((0..8).map(|_| fetch(&egress, "https://a.example:1/"))).await;
    assert!(rest.iter().all(Result::is_err), "another port is another target");
    let many: Vec<String> = (0..8).map(|_| url("/")).collect();
    for answer in futures::future::join_all(many.iter().map(|url| fetch(&egress, url))).await {
        assert_eq!(answer.unwrap(), "hi");
    }
    assert_eq!(text(first).await.unwrap(), "hi");
    assert_eq!(http2.upstream.connections(), 1);
    assert_eq!(http2.seen.lock().unwrap()[0], url("/first?x=1"));
}

#[tokio::test]
async fn dropping_an_http2_response_resets_its_stream_and_leaves_the_connection() {
    let authority = Authority::new();
    let mut http2 = http2_upstream(authority.acceptor("a.example", &["h2"])).await;
    let egress = authority.egress();
    let url = |path| https(&http2.upstream, "a.example", path);
    let mut body = call(&egress, &url("/endless")).await.unwrap().into_body();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
    drop(body);
    within(http2.gone.wait_for(|gone| *gone)).await.unwrap();
    assert_eq!(fetch(&egress, &https(&http2.upstream, "a.example", "/")).await.unwrap(), "hi");
    assert_eq!(http2.upstream.connections(), 1);
}

#[tokio::test]
async fn too_many_headers_over_http2_are_refused() {
    let authority = Authority::new();
    let http2 = http2_upstream(authority.acceptor("a.example", &["h2"])).await;
    let url = https(&http2.upstream, "a.example", "/many");
    assert_eq!(failure(&authority.egress(), &url).await, "HTTP-response-header-section-size");
}

#[tokio::test]
async fn a_dead_http2_connection_is_replaced() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("a.example", &["h2"]);
    let (stop, stopped) = watch::channel(0_usize);
    let upstream = Upstream::start(move |stream| {
        let (acceptor, mut stopped) = (acceptor.clone(), stopped.clone());
        let serving = serve_http2(acceptor, stream, watch::channel(false).0, Arc::default());
        async move {
            tokio::select! {
                () = serving => {}
                _ = stopped.wait_for(|count| *count == 1) => {}
            }
        }
    })
    .await;
    let egress = authority.egress();
    let url = https(&upstream, "a.example", "/");
    assert_eq!(fetch(&egress, &url).await.unwrap(), "hi");
    stop.send_replace(1);
    stop.send_replace(0);
    until("the first connection is counted", || upstream.connections() == 1).await;
    let mut answer = fetch(&egress, &url).await;
    for _ in 0..100 {
        if answer.is_ok() {
            break;
        }
        // The close may cross the call on the wire, which is then not repeated.
        answer = fetch(&egress, &url).await;
    }
    assert_eq!(answer.unwrap(), "hi");
}
