//! Tries: to wait for ever before the response begins, without using any CPU time.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if guests::is_asked_to_hurt(&request) {
        std::future::pending::<()>().await;
    }
    guests::fine()
}
