//! Tries: to trap in the middle of its response's body.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let hurts = guests::is_asked_to_hurt(&request);
    let (response, mut body) = guests::begin(200, &[]);
    guests::wasip3::spawn(async move {
        let _unread = body.writer.write_all(b"fine, at first\n".to_vec()).await;
        guests::sleep_ms(20).await;
        assert!(!hurts, "in the middle of a body");
        drop(body);
    });
    Ok(response)
}
