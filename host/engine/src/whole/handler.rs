//! `waggle:http/handler`: requests that a function takes whole.

use super::BODY_BYTES_MAX;
use super::fields::{set_by_function, shown};
use crate::bindings::whole::Whole;
use crate::bindings::whole::exports::waggle::http::handler::{Answer, WholeRequest, WholeResponse};
use crate::state::InstanceState;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::Either;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use std::pin::pin;
use wasmtime::component::{Accessor, GuestTaskId, TypedFuncCallConcurrent};
use wasmtime::error::Context as _;
use wasmtime::{Error, StoreContextMut};
use wasmtime_wasi_http::handler::{ExpirationError, Request, Response};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

/// A request on its way into an instance.
pub(crate) enum Message {
    /// Over `wasi:http`.
    Http(Request),
    /// Whole: its head and its body.
    Whole(http::request::Parts, Bytes),
}

impl Message {
    /// Reads the body of a request that is short and says so, before an instance is bothered with it. One that breaks off goes
    /// to the function as it is: the function has an answer for that.
    pub(crate) async fn gather(request: Request) -> Self {
        match request.body().size_hint().exact() {
            Some(length) if length <= BODY_BYTES_MAX as u64 => {}
            _ => return Self::Http(request),
        }
        let (head, body) = request.into_parts();
        match body.collect().await {
            Ok(whole) => Self::Whole(head, whole.to_bytes()),
            Err(error) => Self::Http(Request::from_parts(head, broken(error))),
        }
    }

    /// The same over `wasi:http`.
    pub(crate) fn into_http(self) -> Request {
        match self {
            Self::Http(request) => request,
            Self::Whole(head, body) => Request::from_parts(head, full(body)),
        }
    }
}

fn full(body: Bytes) -> WasiBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// A body that has broken off.
fn broken(error: wasmtime_wasi_http::Error) -> WasiBody {
    StreamBody::new(futures::stream::iter([Err(error)])).boxed_unsync()
}

fn whole_request(head: &http::request::Parts, body: Bytes) -> WholeRequest {
    WholeRequest {
        method: head.method.as_str().to_owned(),
        path_with_query: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: shown(&head.headers),
        body: body.into(),
    }
}

fn response(answer: WholeResponse) -> wasmtime::Result<Response> {
    let status = StatusCode::from_u16(answer.status);
    let status = status.with_context(|| format!("its status is {}", answer.status))?;
    let mut headers = set_by_function(answer.headers).map_err(Error::msg)?;
    headers.remove(CONTENT_LENGTH);
    // What has no body by its status has no length either (RFC 9110, section 8.6).
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !status.is_informational() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    let mut response = Response::new(full(answer.body.into()));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// A call of the function that has begun.
pub(crate) struct WholeCall<'a> {
    guest: &'a Whole,
    call: TypedFuncCallConcurrent<InstanceState, (WholeRequest,), (Answer,)>,
    reply: oneshot::Sender<wasmtime::Result<Response>>,
}

impl<'a> WholeCall<'a> {
    pub(crate) fn begin(
        store: StoreContextMut<'_, InstanceState>,
        guest: &'a Whole,
        (head, body): (http::request::Parts, Bytes),
        reply: oneshot::Sender<wasmtime::Result<Response>>,
    ) -> wasmtime::Result<Self> {
        let request = whole_request(&head, body);
        let call = guest.waggle_http_handler().func_handle().start_call_concurrent(store, (request,))?;
        Ok(Self { guest, call, reply })
    }

    pub(crate) fn task(&self) -> GuestTaskId {
        self.call.task()
    }

    /// Waits for the answer until `expiration`, and hands it on. False when it did not come in time.
    pub(crate) async fn run(
        self,
        accessor: &Accessor<InstanceState>,
        expiration: impl Future<Output = ()>,
    ) -> bool {
        let Self { guest, call, reply } = self;
        let answered = pin!(async {
            let function = guest.waggle_http_handler().func_handle();
            let (answer,) = function.finish_call_concurrent(accessor, call).await?;
            match answer {
                Answer::Whole(answer) => response(answer),
                Answer::Streamed(answer) => accessor.with(|mut access| {
                    let answer = access.get().http().table.delete(answer)?;
                    answer.into_http_with_getter(&mut access, async { Ok(()) }, InstanceState::http)
                }),
            }
        });
        let (result, in_time) = match futures::future::select(answered, pin!(expiration)).await {
            Either::Left((result, _expiration)) => (result, true),
            Either::Right(((), _answered)) => (Err(ExpirationError.into()), false),
        };
        // Whoever asked may have gone.
        let _ = reply.send(result);
        in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::iter;
    use http_body::Frame;

    fn request(body: WasiBody) -> Request {
        http::Request::post("/v1/x?y").header("accept", "a").header("connection", "close").body(body).unwrap()
    }

    #[tokio::test]
    async fn a_short_request_of_known_length_is_read_and_no_other() {
        let whole = Message::gather(request(full("said".into()))).await;
        let Message::Whole(head, body) = whole else { panic!("it is short") };
        let whole = whole_request(&head, body);
        assert_eq!(
            (&*whole.method, &*whole.path_with_query, &whole.body[..]),
            ("POST", "/v1/x?y", &b"said"[..])
        );
        assert_eq!(
            whole.headers,
            [("accept".to_owned(), b"a".to_vec())],
            "what is between hops is not shown"
        );

        let long = Message::gather(request(full(vec![b'x'; BODY_BYTES_MAX + 1].into()))).await;
        assert!(matches!(long, Message::Http(_)), "it is too long");
        let piece = Ok(Frame::data(Bytes::from("x")));
        let unknown = StreamBody::new(iter([piece])).boxed_unsync();
        let unknown = Message::gather(request(unknown)).await;
        let again = unknown.into_http().into_body().collect().await.unwrap();
        assert_eq!(again.to_bytes(), "x", "how long it is nobody knows");
    }

    #[test]
    fn an_answer_has_the_length_that_it_has() {
        let answer = |status: u16, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
            response(WholeResponse { status, headers: headers.collect(), body: body.into() })
        };
        let said = answer(201, &[("content-length", "77"), ("x-own", "a")], "said").unwrap();
        assert_eq!(said.headers()["content-length"], "4");
        assert_eq!((said.status().as_u16(), &said.headers()["x-own"]), (201, &HeaderValue::from_static("a")));
        assert!(!answer(204, &[], "").unwrap().headers().contains_key("content-length"));
        for (status, headers, told) in [
            (99, &[][..], "its status is 99"),
            (
                200,
                &[("transfer-encoding", "chunked")],
                "the header field `transfer-encoding` is not a function's to set",
            ),
        ] {
            assert_eq!(answer(status, headers, "").unwrap_err().to_string(), told);
        }
    }
}
