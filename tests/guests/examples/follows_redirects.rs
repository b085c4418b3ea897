//! Follows redirects itself, as a client library in a function does: each step is a call of its own.

use guests::wasip3::http::client;
use guests::wasip3::http::types::Response;

guests::serve!(handle);

const STEPS_MAX: usize = 5;

async fn handle(request: guests::Request) -> guests::Answer {
    let Some(mut url) = guests::header(&request, "x-url") else { return guests::fine() };
    for step in 0..STEPS_MAX {
        let sent = client::send(guests::get(&url, &[])?).await;
        let response = match sent {
            Ok(response) => response,
            Err(code) => return guests::answer(200, format!("step {step}: error {code:?}")),
        };
        match location(&response) {
            Some(next) => url = next,
            None => {
                return guests::answer(200, format!("step {step}: status {}", response.get_status_code()));
            }
        }
    }
    guests::answer(200, "too many steps")
}

fn location(response: &Response) -> Option<String> {
    let value = response.get_headers().get("location").into_iter().next()?;
    String::from_utf8(value).ok()
}
