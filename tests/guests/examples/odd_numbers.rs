//! Tries: numbers at the end of their range, where the host calculates with them.

use guests::wasip3::clocks::monotonic_clock;
use guests::wasip3::http::types::RequestOptions;
use guests::wasip3::random::random;

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    match &*guests::trick(&request) {
        "wait-for" => monotonic_clock::wait_for(u64::MAX).await,
        "wait-until" => monotonic_clock::wait_until(u64::MAX).await,
        "random" => drop(std::hint::black_box(random::get_random_bytes(u64::MAX))),
        "timeouts" => {
            let options = RequestOptions::new();
            for length in [0, 1, u64::MAX] {
                let _refused = options.set_connect_timeout(Some(length));
                let _refused = options.set_first_byte_timeout(Some(length));
                let _refused = options.set_between_bytes_timeout(Some(length));
            }
            let url = guests::header(&request, "x-url").unwrap_or_default();
            let request = guests::get_with(&url, &[], Some(options));
            let told = match guests::receive(request.expect("the URL is valid")).await {
                Ok(fetched) => format!("status {}", fetched.status),
                Err(code) => format!("error {code:?}"),
            };
            return guests::answer(200, told);
        }
        other => return guests::answer(404, format!("no trick `{other}`")),
    }
    guests::fine()
}
