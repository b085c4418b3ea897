//! What the guests share: taking a WASI 0.3 request apart and answering it. A guest that is to hurt does so only when
//! its query says `now`, so that the same function can be asked nicely, too.

pub use spin_sdk;
pub use spin_sdk::wasip3;
pub use spin_sdk::wasip3::exports::http::handler::Guest;
pub use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{Fields, Method, RequestOptions, Scheme, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};

pub mod p2;
pub mod tool;

/// The imports beyond what spin-sdk brings. What a guest does not call is not in its component.
pub mod imports {
    spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:guests@0.1.0;
            world guest-imports {
                import fermyon:spin/key-value@2.0.0;
                import fermyon:spin/variables@2.0.0;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:config/store@0.2.0-draft-2024-09-27;
                import waggle:vector/index@0.1.0;
            }
        ",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        path: "../../wit",
        world: "waggle:guests/guest-imports@0.1.0",
        generate_all,
    });
}

/// What a handler returns.
pub type Answer = Result<Response, ErrorCode>;

/// Makes an async function of a request the component's handler.
#[macro_export]
macro_rules! serve {
    ($handle:path) => {
        struct Function;

        impl $crate::Guest for Function {
            async fn handle(request: $crate::Request) -> $crate::Answer {
                $handle(request).await
            }
        }

        $crate::wasip3::http::service::export!(Function);
    };
}

/// Whether the guest shall do its worst.
pub fn is_asked_to_hurt(request: &Request) -> bool {
    query(request) == "now"
}

/// The path, without the query.
pub fn path(request: &Request) -> String {
    let target = request.get_path_with_query().unwrap_or_default();
    target.split('?').next().unwrap_or_default().to_owned()
}

/// The last segment of the path: which of its tricks a guest that knows several shall try.
pub fn trick(request: &Request) -> String {
    let path = path(request);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The query as it is written.
pub fn query(request: &Request) -> String {
    let target = request.get_path_with_query().unwrap_or_default();
    target.split_once('?').map(|(_path, query)| query.to_owned()).unwrap_or_default()
}

/// One parameter of the query, as it is written.
pub fn parameter(request: &Request, name: &str) -> Option<String> {
    let query = query(request);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _value)| *key == name).map(|(_key, value)| value.to_owned())
}

/// Every header field, in order.
pub fn headers(request: &Request) -> Vec<(String, String)> {
    let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
    request.get_headers().copy_all().into_iter().map(text).collect()
}

/// The value of one header field.
pub fn header(request: &Request, name: &str) -> Option<String> {
    headers(request).into_iter().find(|(key, _value)| key == name).map(|(_key, value)| value)
}

/// The body of an answer while it is being written. Dropping it ends the body as it should end.
pub struct Body {
    pub writer: StreamWriter<u8>,
    pub trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
}

/// An answer whose body is still to be written.
pub fn begin(status: u16, fields: &[(&str, &str)]) -> (Response, Body) {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let fields = Fields::from_list(&fields).expect("the fields are valid");
    let (writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _transmission) = Response::new(fields, Some(contents), trailers_reader);
    response.set_status_code(status).expect("the status is valid");
    (response, Body { writer, trailers })
}

/// A whole answer.
pub fn answer(status: u16, text: impl Into<Vec<u8>>) -> Answer {
    let (response, mut body) = begin(status, &[("content-type", "text/plain")]);
    let text = text.into();
    spawn(async move {
        let _unread = body.writer.write_all(text).await;
    });
    Ok(response)
}

/// The answer of a hostile guest that was asked nicely.
pub fn fine() -> Answer {
    answer(200, "fine\n")
}

/// Takes the body off a request.
pub fn body(request: Request) -> Incoming {
    let (received, received_reader) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Request::consume_body(request, received_reader);
    Incoming { stream, trailers, _received: received }
}

/// A body on its way in.
pub struct Incoming {
    stream: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    _received: FutureWriter<Result<(), ErrorCode>>,
}

impl Incoming {
    /// Reads it to the end.
    pub async fn read(self) -> Result<Vec<u8>, ErrorCode> {
        self.read_all().await.map(|(whole, _trailers)| whole)
    }

    /// Reads it to the end and on to the fields behind it.
    pub async fn read_all(mut self) -> Result<(Vec<u8>, Option<Trailers>), ErrorCode> {
        let mut whole = Vec::new();
        loop {
            let (result, chunk) = self.stream.read(Vec::with_capacity(16 << 10)).await;
            whole.extend(chunk);
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        self.trailers.await.map(|trailers| (whole, trailers))
    }
}

/// What a call brought back.
pub struct Fetched {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Calls `url` with GET and the given fields; a URL without a host is relative.
pub async fn fetch(url: &str, fields: &[(&str, &str)]) -> Result<Fetched, ErrorCode> {
    receive(get(url, fields)?).await
}

/// Sends a request and reads the response to its end.
pub async fn receive(request: Request) -> Result<Fetched, ErrorCode> {
    read_response(client::send(request).await?).await
}

/// Reads a response to its end.
pub async fn read_response(response: Response) -> Result<Fetched, ErrorCode> {
    let status = response.get_status_code();
    let (received, received_reader) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Response::consume_body(response, received_reader);
    let body = Incoming { stream, trailers, _received: received }.read().await?;
    Ok(Fetched { status, body })
}

/// A GET request to `url`.
pub fn get(url: &str, fields: &[(&str, &str)]) -> Result<Request, ErrorCode> {
    get_with(url, fields, None)
}

/// As [`get`], with time-outs.
pub fn get_with(
    url: &str,
    fields: &[(&str, &str)],
    options: Option<RequestOptions>,
) -> Result<Request, ErrorCode> {
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let fields = Fields::from_list(&fields).map_err(|_refused| ErrorCode::HttpProtocolError)?;
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _transmission) = Request::new(fields, None, trailers_reader, options);
    request.set_method(&Method::Get).map_err(invalid)?;
    let Some((scheme, rest)) = url.split_once("://") else {
        request.set_path_with_query(Some(url)).map_err(invalid)?;
        return Ok(request);
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).map_err(invalid)?;
    Ok(request)
}

/// A wait that outlasts every deadline. A guest that waited for nothing at all would be told that it never can go on.
pub const FOR_EVER_MS: u64 = 24 * 60 * 60 * 1_000;

/// Waits on the host's clock.
pub async fn sleep_ms(milliseconds: u64) {
    spin_sdk::wasip3::clocks::monotonic_clock::wait_for(milliseconds * 1_000_000).await;
}
