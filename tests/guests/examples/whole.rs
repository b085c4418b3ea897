//! Takes requests both ways: over `wasi:http`, where it says so, and whole, where it does what its path says.

use bindings::exports::waggle::http::handler::{Answer, Guest, WholeRequest, WholeResponse};
use bindings::waggle::http::client::{self, Call, Failure};
use guests::wasip3::spawn;

mod bindings {
    guests::spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:whole-guest@0.1.0;
            world whole {
                import waggle:http/client@0.1.0;
                export waggle:http/handler@0.1.0;
            }
        ",
        runtime_path: "guests::spin_sdk::wit_bindgen::rt",
        path: "../../wit",
        world: "waggle:whole-guest/whole@0.1.0",
        with: {
            "wasi:http/types@0.3.0": guests::wasip3::http::types,
            "wasi:clocks/types@0.3.0": guests::wasip3::clocks::types,
        },
        generate_all,
    });
}

guests::serve!(handle);

struct Whole;

bindings::export!(Whole with_types_in bindings);

async fn handle(request: guests::Request) -> guests::Answer {
    match guests::body(request).read().await {
        Ok(body) => guests::answer(200, format!("over wasi:http: {} bytes", body.len())),
        Err(code) => guests::answer(400, format!("broken off: {code:?}")),
    }
}

fn plain(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Answer::Whole(WholeResponse { status, headers: headers.collect(), body: body.into() })
}

impl Guest for Whole {
    async fn handle(request: WholeRequest) -> Answer {
        let WholeRequest { method, path_with_query, headers, body } = request;
        let (path, query) = path_with_query.split_once('?').unwrap_or((&path_with_query, ""));
        match path.rsplit('/').next().unwrap_or_default() {
            "odd-status" => plain(99, &[], ""),
            "no-content" => plain(204, &[], ""),
            "host-field" => plain(200, &[("transfer-encoding", "chunked")], ""),
            "many-fields" => plain(200, &[("x-long", &"x".repeat(70_000))], ""),
            "trap" => panic!("on request"),
            "waits" => {
                guests::sleep_ms(guests::FOR_EVER_MS).await;
                plain(200, &[], "")
            }
            "streams" => {
                let (response, mut out) = guests::begin(200, &[("content-type", "text/plain")]);
                spawn(async move {
                    for piece in ["one ", "two"] {
                        let _unread = out.writer.write_all(piece.as_bytes().to_vec()).await;
                    }
                });
                Answer::Streamed(response)
            }
            "calls" => called(query, headers, body).await,
            _ => {
                let fields = headers.iter().filter(|(name, _value)| name.starts_with("x-"));
                let fields: Vec<String> = fields
                    .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                    .collect();
                let told = format!("{method} {path_with_query} [{}] {} bytes", fields.join(","), body.len());
                plain(200, &[("x-way", "whole")], told)
            }
        }
    }
}

/// Calls the URL of the field `x-url`, and tells how the answer came.
async fn called(query: &str, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Answer {
    let text = |wanted: &str| {
        let field = headers.iter().find(|(name, _value)| name == wanted);
        field.map(|(_name, value)| String::from_utf8_lossy(value).into_owned())
    };
    let call = Call {
        method: "POST".to_owned(),
        url: text("x-url").unwrap_or_default(),
        headers: text("x-field").map(|name| (name, b"value".to_vec())).into_iter().collect(),
        body: Some(body),
        timeout_ms: 5_000,
        gather: query == "gather",
    };
    let told = match client::send(call).await {
        Ok(client::Answer::Whole(answer)) => {
            format!("whole {} {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        Ok(client::Answer::Streamed(response)) => match guests::read_response(response).await {
            Ok(read) => format!("streamed {} {} bytes", read.status, read.body.len()),
            Err(code) => format!("streamed, then {code:?}"),
        },
        Err(Failure::Refused(why)) => format!("refused: {why}"),
        Err(Failure::Failed(code)) => format!("failed: {code:?}"),
    };
    plain(200, &[], told)
}
