//! Any request to anybody, over `wasi:http`, as far as the host allows it.

use crate::body::WasiBody;
use crate::upstream::{failure, options};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use waggle_mcp::{Fetch, FetchRequest, FetchResponse};
use waggle_model::transport::TransportFailure;

/// Outbound HTTP. The host follows no redirects.
#[derive(Debug, Clone, Copy)]
pub struct WasiFetch;

fn denied(reason: impl Into<String>) -> TransportFailure {
    TransportFailure::Denied(reason.into())
}

/// Parts of a URL: scheme, authority, path with query.
fn split(url: &str) -> Result<(Scheme, &str, &str), TransportFailure> {
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err(denied("an address must begin with http:// or https://"));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // Whoever reads an address is not to be taken in by what stands in front of an '@'.
    if authority.is_empty() || authority.contains('@') {
        return Err(denied("an address must have a host, and no credential"));
    }
    Ok((scheme, authority, path))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    }
}

fn request(outgoing: FetchRequest) -> Result<Request, TransportFailure> {
    let (scheme, authority, path) = split(&outgoing.url)?;
    let path = match path {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        path => path.to_owned(),
    };
    let mut fields: Vec<(String, Vec<u8>)> =
        outgoing.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    if let Some(body) = &outgoing.body {
        fields.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    let fields = Fields::from_list(&fields);
    let fields = fields.map_err(|refused| denied(format!("a header was refused: {refused}")))?;
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let contents = outgoing.body.map(|body| {
        let (mut writer, reader) = wit_stream::new();
        spawn(async move {
            let _unread = writer.write_all(body).await;
        });
        reader
    });
    // Dropping the writer sends its default: there are no trailers.
    drop(trailers);
    let options = options(outgoing.timeout_ms);
    let (request, _transmission) = Request::new(fields, contents, trailers_reader, Some(options));
    let refused = |()| denied("the address is no valid URL");
    request.set_method(&method(outgoing.method)).map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(&path)).map_err(refused)?;
    Ok(request)
}

impl Fetch for WasiFetch {
    type Body = WasiBody;

    async fn send(&self, outgoing: FetchRequest) -> Result<FetchResponse<WasiBody>, TransportFailure> {
        let sent = client::send(request(outgoing)?).await;
        let response = sent.map_err(|code| failure(&code))?;
        let fields = response.get_headers().copy_all().into_iter();
        let text = |(name, value): (String, Vec<u8>)| {
            Some((name.to_ascii_lowercase(), String::from_utf8(value).ok()?))
        };
        let headers: Vec<(String, String)> = fields.filter_map(text).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, length)| length.parse().ok());
        let status = response.get_status_code();
        let (received, received_reader) = wit_future::new(|| Ok(()));
        let body = WasiBody::new(Response::consume_body(response, received_reader), received, length);
        Ok(FetchResponse { status, headers, body })
    }
}
