//! The body of a request, read into memory: it may have to be sent more than once, and its model named otherwise.

use super::answer::Answer;
use super::body::UpstreamBody;
use crate::error::EgressError;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use std::error::Error as StdError;

/// The largest body of a request.
pub const REQUEST_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a request's body is not in memory.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It is larger than [`REQUEST_BODY_BYTES_MAX`].
    #[error("the body is larger than {REQUEST_BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// It failed.
    #[error("the body of the request failed: {0}")]
    Failed(Box<dyn StdError + Send + Sync>),
}

impl CollectError {
    /// What the function gets: 413, or the error of a call whose request failed.
    ///
    /// # Errors
    /// [`EgressError::RequestBody`].
    pub fn into_response<B>(self) -> Result<Response<UpstreamBody<B>>, EgressError> {
        match self {
            Self::TooLarge => {
                let message = format!("The body is larger than {REQUEST_BODY_BYTES_MAX} bytes.");
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Ok(Answer::of_request(status, "request_too_large", message, None).into_response())
            }
            Self::Failed(error) => Err(EgressError::RequestBody { reason: error.to_string() }),
        }
    }
}

/// Reads the body of `request`. One that comes in one piece is not copied.
///
/// # Errors
/// When it is too large, or fails.
pub async fn collect<B>(request: Request<B>) -> Result<Request<Bytes>, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (head, mut body) = request.into_parts();
    if body.size_hint().lower() > REQUEST_BODY_BYTES_MAX as u64 {
        return Err(CollectError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| CollectError::Failed(error.into()))?.into_data() else {
            continue;
        };
        if first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        if all.len() + data.len() > REQUEST_BODY_BYTES_MAX {
            return Err(CollectError::TooLarge);
        }
        all.extend_from_slice(&data);
    }
    let collected = if all.is_empty() { first } else { all.freeze() };
    if collected.len() > REQUEST_BODY_BYTES_MAX {
        return Err(CollectError::TooLarge);
    }
    Ok(Request::from_parts(head, collected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    async fn collected(pieces: Vec<Result<Bytes, &'static str>>) -> Result<Bytes, CollectError> {
        let frames = pieces.into_iter().map(|piece| piece.map(Frame::data));
        let request = Request::new(StreamBody::new(stream::iter(frames)));
        collect(request).await.map(Request::into_body)
    }

    #[tokio::test]
    async fn pieces_become_one_up_to_the_bound() {
        let whole = |bytes: usize| Ok(Bytes::from(vec![b'x'; bytes]));
        assert_eq!(collected(vec![]).await.unwrap(), "");
        assert_eq!(collected(vec![Ok("a".into()), Ok("".into()), Ok("bc".into())]).await.unwrap(), "abc");
        assert_eq!(
            collected(vec![whole(REQUEST_BODY_BYTES_MAX)]).await.unwrap().len(),
            REQUEST_BODY_BYTES_MAX
        );
        let table = [
            vec![whole(REQUEST_BODY_BYTES_MAX + 1)],
            vec![whole(REQUEST_BODY_BYTES_MAX), whole(1)],
            vec![whole(1), whole(1), whole(REQUEST_BODY_BYTES_MAX)],
        ];
        for pieces in table {
            assert!(matches!(collected(pieces).await, Err(CollectError::TooLarge)));
        }
    }

    #[tokio::test]
    async fn a_body_that_fails_is_the_callers_error() {
        let error = collected(vec![Ok("a".into()), Err("broken")]).await.unwrap_err();
        let error = error.into_response::<crate::body::ResponseBody>().unwrap_err();
        assert!(
            matches!(&error, EgressError::RequestBody { reason } if reason.contains("broken")),
            "{error}"
        );
    }
}
