//! Tries: a body that consists of empty writes without end, or of single bytes without end.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let endless = guests::is_asked_to_hurt(&request);
    let piece = if guests::trick(&request) == "bytes" { b"x".to_vec() } else { Vec::new() };
    let (response, mut body) = guests::begin(200, &[]);
    guests::wasip3::spawn(async move {
        let _unread = body.writer.write_all(b"begun\n".to_vec()).await;
        while endless {
            let (_result, _left) = body.writer.write(piece.clone()).await;
        }
        drop(body);
    });
    Ok(response)
}
