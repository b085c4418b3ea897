//! Tries: a WASI 0.2 response whose `content-length`, the query, its body of ten bytes does not keep.

use guests::p2::bindings::wasi::http0_2_6::types::{Fields, OutgoingBody, OutgoingResponse};
use guests::p2::{Guest, IncomingRequest, ResponseOutparam};

struct Function;

guests::p2::bindings::export!(Function);

impl Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let Some((_path, length)) = target.split_once('?') else { return guests::p2::answer(out, "fine\n") };
        let fields = Fields::new();
        if fields.append("content-length", length.as_bytes()).is_err() {
            return guests::p2::answer(out, &format!("refused {length}"));
        }
        let response = OutgoingResponse::new(fields);
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let _refused = stream.blocking_write_and_flush(b"0123456789");
        drop(stream);
        let _refused = OutgoingBody::finish(body, None);
    }
}
