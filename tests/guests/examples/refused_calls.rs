//! Tries: to flood the operator's log with calls that are refused.

guests::serve!(handle);

const CALLS: u32 = 5_000;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let (mut refused, long) = (0, "a".repeat(60));
    for number in 0..CALLS {
        let url = format!("http://refused-{number}.{long}.{long}.{long}.example/");
        refused += u32::from(guests::fetch(&url, &[]).await.is_err());
    }
    guests::answer(200, format!("{refused} refused"))
}
