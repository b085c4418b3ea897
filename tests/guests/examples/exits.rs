//! Tries: to end the process.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    match &*guests::trick(&request) {
        "abort" => std::process::abort(),
        "failure" => std::process::exit(1),
        _ => std::process::exit(0),
    }
}
