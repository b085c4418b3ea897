//! Tries: to answer without reading the request's body.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    drop(request);
    guests::fine()
}
