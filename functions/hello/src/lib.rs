//! The smallest function: it answers `hello`, so that what it costs is what the host costs.

use waggle_platform::Reply;
use waggle_wasi::{Function, Incoming, Outgoing};

const BODY: &[u8] = b"hello\n";

struct Hello;

waggle_wasi::export!(Hello);

impl Function for Hello {
    /// Answers every request alike; the request is dropped unread.
    async fn answer(_incoming: Incoming) -> Outgoing {
        let headers = vec![("content-type", "text/plain".to_owned())];
        Outgoing::Whole(Reply { status: 200, headers, body: BODY.to_vec() })
    }
}
