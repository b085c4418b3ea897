//! Tries: header lists that are far too long, in its response, its trailers and its requests. Tells how many fields
//! were taken.

use guests::wasip3::http::types::{Fields, Response};
use guests::wasip3::{spawn, wit_future, wit_stream};

guests::serve!(handle);

const FIELDS: usize = 40_000;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let trick = guests::trick(&request);
    match &*trick {
        "response" => Ok(response(as_many_as_go("x"), Fields::new())),
        "response-same" => Ok(response(same_name(), Fields::new())),
        "response-list" => match Fields::from_list(&all()) {
            Ok(fields) => Ok(response(fields, Fields::new())),
            Err(error) => guests::answer(200, format!("refused {error:?}")),
        },
        "trailers" => Ok(response(Fields::new(), as_many_as_go("x"))),
        "request" | "request-with-room" => {
            let mut fields = as_many_as_go("x").copy_all();
            if trick == "request-with-room" {
                fields.truncate(fields.len() - 50);
            }
            let told = fields.len();
            let pairs: Vec<(String, String)> = fields
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            let to = guests::header(&request, "x-url").unwrap_or_else(|| "http://self/hello".to_owned());
            match guests::fetch(&to, &pairs).await {
                Ok(fetched) => guests::answer(200, format!("{told} fields, status {}", fetched.status)),
                Err(code) => guests::answer(200, format!("{told} fields, error {code:?}")),
            }
        }
        other => guests::answer(404, format!("no trick `{other}`")),
    }
}

fn all() -> Vec<(String, Vec<u8>)> {
    (0..FIELDS).map(|number| (format!("x-{number}"), b"1".to_vec())).collect()
}

/// Fields of different names until the host takes no more.
fn as_many_as_go(prefix: &str) -> Fields {
    let fields = Fields::new();
    for number in 0..FIELDS {
        if fields.append(&format!("{prefix}-{number}"), b"1").is_err() {
            break;
        }
    }
    fields
}

/// Fields of one name until the host takes no more.
fn same_name() -> Fields {
    let fields = Fields::new();
    for _ in 0..FIELDS {
        if fields.append("x", b"").is_err() {
            break;
        }
    }
    fields
}

fn response(fields: Fields, last: Fields) -> Response {
    let taken = fields.copy_all().len() + last.copy_all().len();
    let (mut writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _transmission) = Response::new(fields, Some(contents), trailers_reader);
    spawn(async move {
        let _unread = writer.write_all(format!("{taken} fields").into_bytes()).await;
        drop(writer);
        let _unread = trailers.write(Ok(Some(last))).await;
    });
    response
}
