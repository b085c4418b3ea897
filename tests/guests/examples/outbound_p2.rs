//! A WASI 0.2 function that calls the authority its query names and tells the status, or the error code.

use guests::p2::IncomingRequest;

guests::serve_p2!(handle);

fn handle(request: &IncomingRequest) -> String {
    let target = request.path_with_query().unwrap_or_default();
    let authority = target.split_once('?').map(|(_path, authority)| authority).unwrap_or_default();
    match guests::p2::fetch(authority, "/counter/") {
        Ok(status) => format!("status {status}"),
        Err(code) => format!("error {code:?}"),
    }
}
