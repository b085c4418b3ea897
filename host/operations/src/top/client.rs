//! One scrape over HTTP/1.1: a connection of its own each, so that a host that went away and came back is no special case.

use super::{Address, Reading, TopError};
use crate::scrape::Scrape;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;

/// How long a host may take to answer, from the first try to connect to the last byte.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer: a hundred thousand series, which is what a host tells at most, take a third of it.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Characters of a refusal that are shown.
const DETAIL_CHARACTERS_MAX: usize = 300;
/// What each Waggle tells, whatever it serves.
const SIGN: &str = "waggle_build_info";

/// Reads the metrics at `address`.
///
/// # Errors
/// When there is no answer within [`ANSWER_MAX`], or it does not hold metrics of Waggle.
pub(super) async fn read(address: &Address) -> Result<Reading, TopError> {
    let taken = (Instant::now(), SystemTime::now());
    let answer = tokio::time::timeout(ANSWER_MAX, get(address)).await;
    let (status, body) = answer.unwrap_or_else(|_elapsed| {
        let reason = format!("no answer within {} s", ANSWER_MAX.as_secs());
        Err(TopError::Unreachable { address: address.clone(), reason })
    })?;
    if status != StatusCode::OK {
        return Err(TopError::Refused { address: address.clone(), status, detail: detail(&body) });
    }
    let other = |reason: String| TopError::NotWaggle { address: address.clone(), reason };
    let text = std::str::from_utf8(&body).map_err(|_binary| other("the answer is no text".into()))?;
    let scrape = Scrape::parse(text).map_err(|error| other(error.to_string()))?;
    if scrape.samples(SIGN, &[]).next().is_none() {
        return Err(other(format!("there is no {SIGN}")));
    }
    Ok(Reading { scrape, taken: taken.0, taken_at: taken.1 })
}

async fn get(address: &Address) -> Result<(StatusCode, Bytes), TopError> {
    let unreachable =
        |error: std::io::Error| TopError::Unreachable { address: address.clone(), reason: error.to_string() };
    let broke_off = |reason: String| TopError::BrokeOff { address: address.clone(), reason };
    let stream = TcpStream::connect(address.socket()).await.map_err(unreachable)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke_off(error.to_string()))?;
    // It ends by itself when the sender and the answer are dropped.
    tokio::spawn(connection);
    let request = Request::get(address.path())
        .header(header::HOST, address.authority())
        .header(header::ACCEPT, "text/plain;version=0.0.4")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broke_off(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| broke_off(error.to_string()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok((status, body.map_err(|error| broke_off(error.to_string()))?.to_bytes()))
}

/// What a refusal says, on one line: the detail of problem details (RFC 9457); nothing of other bodies, which may be pages.
fn detail(body: &[u8]) -> String {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let Some(text) = problem.as_ref().and_then(|problem| problem["detail"].as_str()) else {
        return String::new();
    };
    let shown = text.chars().filter(|one| !one.is_control()).take(DETAIL_CHARACTERS_MAX);
    std::iter::once(": ".to_owned()).chain(shown.map(String::from)).collect()
}
