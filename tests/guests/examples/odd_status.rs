//! Tries: a status that is none, or one that forbids the body it comes with; the status is the last part of the path.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let status: u16 = guests::trick(&request).parse().unwrap_or(0);
    let (response, mut body) = guests::begin(200, &[]);
    if response.set_status_code(status).is_err() {
        return guests::answer(200, format!("refused {status}"));
    }
    guests::wasip3::spawn(async move {
        let _unread = body.writer.write_all(b"a body all the same\n".to_vec()).await;
        drop(body);
    });
    Ok(response)
}
