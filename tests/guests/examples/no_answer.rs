//! Tries: an error code in place of a response.

use guests::{Answer, ErrorCode, Request};

guests::serve!(handle);

async fn handle(request: Request) -> Answer {
    if guests::is_asked_to_hurt(&request) {
        return Err(ErrorCode::InternalError(Some("nothing came to mind".into())));
    }
    guests::fine()
}
