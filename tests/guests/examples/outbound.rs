//! Calls the URL of its `x-url` field and tells the status and the body, or the error code. What it is sent in
//! `x-forge` it sends on as a field of the host's own.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let Some(url) = guests::header(&request, "x-url") else { return guests::fine() };
    let forged = guests::header(&request, "x-forge");
    let fields: Vec<(&str, &str)> =
        forged.iter().flat_map(|value| [("spin-client-addr", &**value), ("waggle-user", value)]).collect();
    match guests::fetch(&url, &fields).await {
        Ok(fetched) => {
            let text = format!("status {}\n{}", fetched.status, String::from_utf8_lossy(&fetched.body));
            guests::answer(200, text)
        }
        Err(code) => guests::answer(200, format!("error {code:?}\n")),
    }
}
