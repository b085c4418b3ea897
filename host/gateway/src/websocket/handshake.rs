//! The handshake: RFC 6455, section 4.2, and over HTTP/2 RFC 8441.

use crate::body;
use crate::error::Refusal;
use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::Protocol;
use waggle_engine::WasiBody;

/// The only version there is.
const VERSION: &str = "13";
/// What a server appends to a client's key (RFC 6455, section 1.3).
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a client's key once it is decoded.
const KEY_BYTES: usize = 16;
/// Fields of a handshake that are not for the turns: those of the WebSocket, of a body that it does not have, and those
/// that would mean something else for each turn than for one request.
const NOT_FOR_TURNS: [HeaderName; 15] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("prefer"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("idempotency-key"),
];

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    match *request.method() {
        Method::GET => lists(request.headers(), &header::UPGRADE, "websocket"),
        Method::CONNECT => is_tunnel(request),
        _ => false,
    }
}

fn is_tunnel<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Whether a request wants a tunnel for which there is no other end.
pub(crate) fn is_other_tunnel<B>(request: &Request<B>) -> bool {
    *request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_some()
}

/// The answer that makes a WebSocket of the connection, or of the stream.
///
/// # Errors
/// When the request is no handshake as it should be.
pub(crate) fn agree<B>(request: &Request<B>) -> Result<Response<WasiBody>, Refusal> {
    let headers = request.headers();
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refusal::websocket_version());
    }
    let mut response = Response::new(body::full(""));
    if is_tunnel(request) {
        return Ok(response);
    }
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return Err(Refusal::bad_request("A WebSocket handshake must have `Connection: Upgrade`."));
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(Refusal::bad_request(
            "A WebSocket handshake must have one Sec-WebSocket-Key of 16 bytes in base64.",
        ));
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept(key)) {
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// Whether a page of this machine asks, or none at all. Any page in a browser can open a WebSocket to any host and read
/// from it (unlike a request's answer), so where no credential is asked for, this is what keeps the others out.
pub(crate) fn is_from_this_machine(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let name = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        name.is_some_and(|(_scheme, name)| waggle_listen::is_loopback_name(name))
    })
}

/// What a refused version is told (RFC 6455, section 4.4; RFC 9110, section 15.5.22).
pub(crate) fn tell_version(headers: &mut HeaderMap) {
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// The fields that each turn of the connection is sent with: those of the handshake that are not about it.
pub(crate) fn fields_of_turns(handshake: &HeaderMap) -> HeaderMap {
    let mut fields = handshake.clone();
    crate::headers::strip_hop_by_hop(&mut fields);
    for name in &NOT_FOR_TURNS {
        fields.remove(name);
    }
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    fields
}

/// RFC 6455, section 4.2.2. SHA-1 protects nothing here.
fn accept(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(ACCEPT_GUID.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash.digest().bytes())
}

fn is_key(text: &str) -> bool {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.is_ok_and(|key| key.len() == KEY_BYTES)
}

/// The value of a field that must be there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// Whether a field that is a list has this word in it, in whatever case.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    const FIELDS: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn request(method: &str, change: Option<(&str, &str)>) -> Request<()> {
        let mut request = Request::builder().method(method);
        for (name, value) in FIELDS {
            let value = change.filter(|(changed, _)| *changed == name).map_or(value, |(_, value)| value);
            request = request.header(name, value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn the_example_of_the_standard_is_answered_as_it_says() {
        let request = request("GET", None);
        assert!(is_asked(&request));
        let response = agree(&request).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_that_is_wrong_is_refused() {
        let check = |name: &str, value: &str, code: &str| {
            let refusal = agree(&request("GET", Some((name, value)))).err().unwrap();
            assert_eq!(refusal.code(), code, "{name}: {value}");
        };
        check("sec-websocket-version", "8", "websocket_version");
        check("connection", "close", "bad_request");
        check("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ", "bad_request");
        check("sec-websocket-key", "c2hvcnQ=", "bad_request");
    }

    #[test]
    fn other_requests_ask_for_none() {
        assert!(!is_asked(&request("POST", None)));
        assert!(!is_asked(&request("GET", Some(("upgrade", "h2c")))));
        assert!(!is_asked(&request("CONNECT", None)), "without a protocol");
        let mut tunnel = request("CONNECT", None);
        tunnel.extensions_mut().insert(Protocol::from_static("websocket"));
        assert!(is_asked(&tunnel));
        assert_eq!(agree(&tunnel).unwrap().status(), 200);
    }

    #[test]
    fn pages_of_other_sites_are_told_from_those_of_this_machine() {
        let check = |origins: &[&'static str], expected: bool| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_from_this_machine(&headers), expected, "{origins:?}");
        };
        check(&[], true);
        check(&["http://localhost:5173"], true);
        check(&["http://127.0.0.1"], true);
        check(&["https://evil.test"], false);
        check(&["null"], false);
        check(&["http://localhost", "https://evil.test"], false);
    }

    #[test]
    fn turns_have_the_fields_of_the_handshake_that_are_not_about_it() {
        let mut handshake = request("GET", None).into_parts().0.headers;
        for (name, value) in [("authorization", "Bearer x"), ("idempotency-key", "1"), ("user-agent", "test")]
        {
            handshake.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let fields = fields_of_turns(&handshake);
        let mut names: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-type", "user-agent"]);
    }
}
