//! Tries: to call itself for ever, through `http://self`.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let url = format!("http://self{}?now", guests::path(&request));
    match guests::fetch(&url, &[]).await {
        Ok(fetched) => guests::answer(fetched.status, fetched.body),
        Err(code) => guests::answer(508, format!("{code:?}")),
    }
}
