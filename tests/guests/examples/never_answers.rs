//! Tries: to wait for ever before the response begins, without using any CPU time.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if guests::is_asked_to_hurt(&request) {
        guests::sleep_ms(guests::FOR_EVER_MS).await;
    }
    guests::fine()
}
