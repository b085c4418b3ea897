//! Hands work to the host and notes in its store how it comes back. `POST /enqueue?fail=N` hands the request's body
//! over; its delivery fails the first N times. `GET /seen` lists deliveries. `POST /deliver` from a client is refused.

use guests::imports::fermyon::spin::key_value::{Error, Store};
use guests::spin_sdk::wasip3::http::types::{Fields, Method, Scheme};
use guests::spin_sdk::wasip3::{spawn, wit_future, wit_stream};

guests::serve!(handle);

/// Where the host takes work.
const WORK_HOST: &str = "work.waggle.internal";
const WORK_PATH: &str = "/v1/work";
/// The fields that a delivery has, and who it is for.
const FIELDS: [&str; 5] =
    ["waggle-work", "waggle-work-attempt", "waggle-work-last", "waggle-user", "waggle-scopes"];

async fn handle(request: guests::Request) -> guests::Answer {
    match guests::trick(&request).as_str() {
        "enqueue" => enqueue(request).await,
        "deliver" => deliver(request).await,
        "seen" => answer(seen()),
        _ => guests::answer(404, "no such trick\n"),
    }
}

/// Hands the body over and passes on what the host says. `path` and `bytes` ask for what may be wrong.
async fn enqueue(request: guests::Request) -> guests::Answer {
    let fail = guests::parameter(&request, "fail").unwrap_or_else(|| "0".to_owned());
    let path =
        guests::parameter(&request, "path").unwrap_or_else(|| format!("/queues-work/deliver?fail={fail}"));
    let bytes = guests::parameter(&request, "bytes").and_then(|bytes| bytes.parse().ok());
    let body = guests::body(request).read().await?;
    let body = bytes.map_or(body, |bytes| vec![b'x'; bytes]);
    let fetched = guests::receive(hand_over(&path, body)?).await?;
    guests::answer(fetched.status, fetched.body)
}

/// The request by which work is handed over.
fn hand_over(path: &str, body: Vec<u8>) -> Result<guests::Request, guests::ErrorCode> {
    let invalid = |()| guests::ErrorCode::HttpRequestUriInvalid;
    let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let fields = Fields::from_list(&[field("waggle-work-path", path), field("content-type", "text/x-work")]);
    let fields = fields.map_err(|_refused| guests::ErrorCode::HttpProtocolError)?;
    let (mut writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (request, _transmission) = guests::Request::new(fields, Some(contents), trailers_reader, None);
    request.set_method(&Method::Post).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(WORK_HOST)).map_err(invalid)?;
    request.set_path_with_query(Some(WORK_PATH)).map_err(invalid)?;
    spawn(async move {
        let _unread = writer.write_all(body).await;
        drop((writer, trailers));
    });
    Ok(request)
}

/// Notes the delivery, and does as it was asked.
async fn deliver(request: guests::Request) -> guests::Answer {
    let Some(id) = guests::header(&request, "waggle-work") else {
        return guests::answer(403, "this is no delivery\n");
    };
    let attempt = guests::header(&request, "waggle-work-attempt").unwrap_or_default();
    let fails = guests::parameter(&request, "fail").unwrap_or_default();
    let shown = |name: &&str| guests::header(&request, name).map(|value| format!("{name}={value}"));
    let fields: Vec<String> = FIELDS.iter().filter_map(shown).collect();
    let content_type = guests::header(&request, "content-type").unwrap_or_default();
    let body = guests::body(request).read().await?;
    let line = format!("{} {content_type} {}", String::from_utf8_lossy(&body), fields.join(" "));
    let noted =
        Store::open("default").and_then(|store| store.set(&format!("{id}/{attempt}"), line.as_bytes()));
    let is_done = attempt.parse::<u32>().unwrap_or(0) > fails.parse().unwrap_or(0);
    match noted {
        Ok(()) if is_done => guests::answer(200, "done\n"),
        Ok(()) => guests::answer(500, "not yet\n"),
        Err(error) => guests::answer(500, format!("{error:?}\n")),
    }
}

/// All deliveries, one a line.
fn seen() -> Result<String, Error> {
    let store = Store::open("default")?;
    let mut keys = store.get_keys()?;
    keys.sort_unstable();
    let lines = keys.iter().map(|key| {
        let line = store.get(key)?.unwrap_or_default();
        Ok(format!("{}\n", String::from_utf8_lossy(&line)))
    });
    lines.collect()
}

fn answer(text: Result<String, Error>) -> guests::Answer {
    match text {
        Ok(text) => guests::answer(200, text),
        Err(error) => guests::answer(500, format!("{error:?}\n")),
    }
}
