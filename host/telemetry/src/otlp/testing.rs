//! Collectors for tests: those that work, and those that do not.

use crate::metrics::{Format, Metrics};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a collector got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The request, encoded.
    pub(crate) message: Bytes,
}

/// What a collector answers: a status of HTTP or gRPC, or how many records it rejects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Status(u16),
    Rejected(i64),
    /// It closes the connection.
    Nothing,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<VecDeque<Reply>>>,
}

impl Receiver {
    /// Listens and answers by `script`, then with success. Returns its address.
    pub(crate) async fn start(&self, script: &[Reply], tls: Option<TlsAcceptor>) -> String {
        *self.script.lock().unwrap() = script.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (receiver, tls) = (receiver.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let receiver = receiver.clone();
                        async move { receiver.answer(request).await }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A connection that ends badly is what some tests want.
                    let _ = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => return,
                        },
                        None => server.serve_connection(TokioIo::new(stream), service).await,
                    };
                });
            }
        });
        address.to_string()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, std::io::Error> {
        let is_grpc = request.headers()["content-type"] == "application/grpc";
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let message = if is_grpc {
            assert_eq!(body[0], 0, "not compressed");
            assert_eq!(
                usize::try_from(u32::from_be_bytes(body[1..5].try_into().unwrap())).unwrap(),
                body.len() - 5
            );
            body.slice(5..)
        } else {
            body
        };
        self.got.lock().unwrap().push(Got {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            message,
        });
        let reply = self.script.lock().unwrap().pop_front().unwrap_or(Reply::Rejected(0));
        let rejected_spans = match reply {
            Reply::Nothing => return Err(std::io::Error::other("gone")),
            Reply::Rejected(spans) => spans,
            Reply::Status(_) => 0,
        };
        // What is rejected has the same place in the answers of all signals.
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans, ..Default::default() });
        let message = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let mut response = Response::builder();
        if is_grpc {
            let code = if let Reply::Status(code) = reply { code } else { 0 };
            let trailer = (HeaderName::from_static("grpc-status"), HeaderValue::from(code));
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            framed.extend(message);
            let body = Full::new(Bytes::from(framed))
                .with_trailers(async { Some(Ok([trailer].into_iter().collect())) });
            return Ok(response.header("content-type", "application/grpc").body(body.boxed()).unwrap());
        }
        if let Reply::Status(status) = reply {
            response = response.status(status);
        }
        Ok(response.body(Full::new(Bytes::from(message)).boxed()).unwrap())
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A collector that takes connections and never says anything.
pub(crate) async fn black_hole() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream);
        }
    });
    (address, task)
}

pub(crate) fn count(metrics: &Metrics, outcome: &str) -> u64 {
    let text = metrics.render(Format::PrometheusText).text;
    let line = text.lines().find(|line| line.contains(&format!("outcome=\"{outcome}\""))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
