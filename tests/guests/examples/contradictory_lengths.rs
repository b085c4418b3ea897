//! Tries: a `content-length` that its body does not keep, in its response and in its requests. The declared length is the
//! trick's second word (`less` is the truth; `5`, `5,5`, `+10` are taken as they are).

use guests::wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use guests::wasip3::{spawn, wit_future, wit_stream};

guests::serve!(handle);

/// Ten bytes.
const BODY: &[u8] = b"0123456789";

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let lengths = guests::header(&request, "x-lengths").unwrap_or_default();
    let lengths: Vec<&str> = lengths.split('|').collect();
    let fields = Fields::new();
    for length in &lengths {
        if fields.append("content-length", length.as_bytes()).is_err() {
            return guests::answer(200, format!("refused {length}"));
        }
    }
    match &*guests::trick(&request) {
        "response" => Ok(response(fields)),
        "request" => {
            let authority = guests::header(&request, "x-authority").unwrap_or_default();
            let body = guests::header(&request, "x-body").unwrap_or_default().replace('~', "\r\n");
            match call(&authority, fields, body.into_bytes()).await {
                Ok(told) => guests::answer(200, told),
                Err(code) => guests::answer(200, format!("error {code:?}")),
            }
        }
        other => guests::answer(404, format!("no trick `{other}`")),
    }
}

fn response(fields: Fields) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _transmission) = Response::new(fields, Some(contents), trailers_reader);
    spawn(async move {
        let _unread = writer.write_all(BODY.to_vec()).await;
        drop(writer);
        drop(trailers);
    });
    response
}

async fn call(authority: &str, fields: Fields, body: Vec<u8>) -> Result<String, guests::ErrorCode> {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (request, _transmission) = Request::new(fields, Some(contents), trailers_reader, None);
    request.set_method(&Method::Post).map_err(|()| guests::ErrorCode::HttpRequestMethodInvalid)?;
    let invalid = |()| guests::ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some("/hostile")).map_err(invalid)?;
    spawn(async move {
        let _unread = writer.write_all(body).await;
        drop(writer);
        drop(trailers);
    });
    let fetched = guests::receive(request).await?;
    Ok(format!("status {} {}", fetched.status, String::from_utf8_lossy(&fetched.body)))
}
