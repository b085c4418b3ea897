//! Tries: a Rust panic, with a message that belongs in the log and nowhere else.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    assert!(!guests::is_asked_to_hurt(&request), "the secret of this panic");
    guests::fine()
}
