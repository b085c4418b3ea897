//! Asks the host for tools, and calls others in their names. `/host?method=M&path=P` asks at the host's address of tools;
//! `/as?tool=NAME` calls the URL of `x-url` in the name of a tool (`&twice` says so twice), and tells status and body, or the
//! error code. As the function `tools` it also lists what another server can do: the answer of its URL, as it is.

use guests::spin_sdk::wasip3::http::types::{Fields, Method, Scheme};
use guests::spin_sdk::wasip3::{spawn, wit_future, wit_stream};

guests::serve!(handle);

/// Where the host has tools.
const TOOLS_HOST: &str = "tools.waggle.internal";

async fn handle(request: guests::Request) -> guests::Answer {
    match guests::trick(&request).as_str() {
        "host" => ask_host(request).await,
        "as" => call_as(request).await,
        "list-remote" => list_remote(request).await,
        _ => guests::answer(404, "no such trick\n"),
    }
}

/// Passes a request on to the host, and its answer back.
async fn ask_host(request: guests::Request) -> guests::Answer {
    let method = guests::parameter(&request, "method").unwrap_or_else(|| "GET".to_owned());
    let path = guests::parameter(&request, "path").unwrap_or_else(|| "/v1/tools".to_owned());
    let known = guests::header(&request, "x-known");
    let body = guests::body(request).read().await?;
    let fetched = guests::receive(to_host(&method, &path, known.as_deref(), body)?).await?;
    guests::answer(fetched.status, fetched.body)
}

fn to_host(
    method: &str,
    path: &str,
    known: Option<&str>,
    body: Vec<u8>,
) -> Result<guests::Request, guests::ErrorCode> {
    let invalid = |()| guests::ErrorCode::HttpRequestUriInvalid;
    let fields: Vec<_> =
        known.map(|known| ("if-none-match".to_owned(), known.as_bytes().to_vec())).into_iter().collect();
    let fields = Fields::from_list(&fields).map_err(|_refused| guests::ErrorCode::HttpProtocolError)?;
    let (mut writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (request, _transmission) = guests::Request::new(fields, Some(contents), trailers_reader, None);
    let method = if method == "POST" { Method::Post } else { Method::Get };
    request.set_method(&method).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(TOOLS_HOST)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    spawn(async move {
        let _unread = writer.write_all(body).await;
        drop((writer, trailers));
    });
    Ok(request)
}

/// Calls a URL in the name of a tool.
async fn call_as(request: guests::Request) -> guests::Answer {
    let Some(url) = guests::header(&request, "x-url") else { return guests::fine() };
    let tool = guests::parameter(&request, "tool").unwrap_or_default();
    let times = if guests::query(&request).contains("twice") { 2 } else { 1 };
    let fields = vec![("waggle-tool", tool.as_str()); times];
    match guests::fetch(&url, &fields).await {
        Ok(fetched) => {
            let text = format!("status {}\n{}", fetched.status, String::from_utf8_lossy(&fetched.body));
            guests::answer(200, text)
        }
        Err(code) => guests::answer(200, format!("error {code:?}\n")),
    }
}

/// What the host asks before anybody has accepted the tool.
async fn list_remote(request: guests::Request) -> guests::Answer {
    if guests::header(&request, "waggle-work").is_none() {
        return guests::answer(403, "only the host asks this\n");
    }
    let body = guests::body(request).read().await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let (name, url) = (member(&body, "name"), member(&body, "url"));
    match guests::fetch(&url, &[("waggle-tool", &name)]).await {
        Ok(fetched) => guests::answer(fetched.status, fetched.body),
        Err(code) => {
            let message = format!("{code:?}").replace('"', "'");
            guests::answer(422, format!(r#"{{"error":{{"code":"unreachable","message":"{message}"}}}}"#))
        }
    }
}

/// A member that is a plain string, without escapes.
fn member(json: &str, name: &str) -> String {
    let value = json.split_once(&format!("\"{name}\":")).map(|(_before, after)| after.trim_start());
    let value = value.and_then(|value| value.strip_prefix('"')).unwrap_or_default();
    value.split('"').next().unwrap_or_default().to_owned()
}
