//! Calls itself, which calls the URL of `x-url`, and leaves that call alone: `spawned` and `read` answer when the request's
//! body has ended and have then not waited for it, `waits` does. Below them, `calls` calls the URL before it answers and
//! `streams` when it has begun to.

use guests::wasip3::http::client;
use guests::wasip3::spawn;

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let url = guests::header(&request, "x-url").unwrap_or_default();
    match &*guests::trick(&request) {
        "spawned" => {
            spawn(async move {
                let _left = guests::fetch("http://self/leaves-calls/calls", &[("x-url", &url)]).await;
            });
            let _ended = guests::body(request).read().await;
        }
        "read" => {
            let inner = guests::get("http://self/leaves-calls/streams", &[("x-url", &url)])?;
            let response = client::send(inner).await?;
            spawn(async move {
                let _left = guests::read_response(response).await;
            });
            let _ended = guests::body(request).read().await;
        }
        "waits" => {
            let _left = guests::fetch("http://self/leaves-calls/calls", &[("x-url", &url)]).await;
        }
        "calls" => {
            let _left = guests::fetch(&url, &[]).await;
        }
        "streams" => {
            let (response, body) = guests::begin(200, &[]);
            spawn(async move {
                let _left = guests::fetch(&url, &[]).await;
                drop(body);
            });
            return Ok(response);
        }
        other => panic!("no trick `{other}`"),
    }
    guests::fine()
}
