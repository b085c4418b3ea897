//! Returns the request's header fields, one `name: value` a line.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let lines: Vec<String> =
        guests::headers(&request).into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    guests::answer(200, lines.concat())
}
