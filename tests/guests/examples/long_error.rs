//! Tries: to fill and to forge the operator's log with the error code it returns in place of a response.

use guests::ErrorCode;

guests::serve!(handle);

const BYTES: usize = 8 << 20;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let text = match &*guests::trick(&request) {
        "forged" => {
            "over\n2026-01-01T00:00:00Z  INFO forged line tenant=good \u{1b}[31mred\u{1b}[0m\r\n".to_owned()
        }
        _ => "novel ".repeat(BYTES / 6),
    };
    Err(ErrorCode::InternalError(Some(text)))
}
