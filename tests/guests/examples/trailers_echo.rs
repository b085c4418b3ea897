//! Returns the fields behind the request's body, one `name: value` a line.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let (_body, trailers) = guests::body(request).read_all().await?;
    let fields = trailers.map(|trailers| trailers.copy_all()).unwrap_or_default();
    let lines = fields.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
    guests::answer(200, lines.collect::<String>())
}
