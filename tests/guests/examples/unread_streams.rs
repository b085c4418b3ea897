//! Tries: to open streams, futures and requests without end, and to read none of them.

use guests::wasip3::http::types::Fields;
use guests::wasip3::{wit_future, wit_stream};

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let mut kept = Vec::new();
    while guests::is_asked_to_hurt(&request) {
        let (body, contents) = wit_stream::new::<u8>();
        let (end, trailers) = wit_future::new(|| Ok(None));
        kept.push((guests::Request::new(Fields::new(), Some(contents), trailers, None), body, end));
    }
    guests::fine()
}
