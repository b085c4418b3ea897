//! Tries: a response body that begins and never ends.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let endless = guests::is_asked_to_hurt(&request);
    let (response, mut body) = guests::begin(200, &[]);
    guests::wasip3::spawn(async move {
        let _unread = body.writer.write_all(b"begun\n".to_vec()).await;
        if endless {
            guests::sleep_ms(guests::FOR_EVER_MS).await;
        }
        drop(body);
    });
    Ok(response)
}
