//! The head of a request, and its body where that is JSON.

use waggle_model::transport::{ChunkSource, ReadFailure, read_whole};
use waggle_openai::ApiError;

/// The header field by which the host says which user of the tenant is calling. No client can set it.
pub const USER_FIELD: &str = "waggle-user";

/// The head of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path, with its query if it has one.
    pub path_with_query: &'a str,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The `Content-Length` header.
    pub content_length: Option<u64>,
    /// The `Accept-Language` header; several are joined by commas.
    pub accept_language: Option<&'a str>,
    /// Every value of `Idempotency-Key`, as it came.
    pub idempotency_key: &'a [Vec<u8>],
    /// Every value of [`USER_FIELD`], as it came. None stands for one of the tenant's own services.
    pub user: &'a [Vec<u8>],
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<&'a str>,
    /// What the host says when it delivers work that was queued. No client can set it.
    pub work: Option<Delivery>,
}

/// The host delivers work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Whether it is for the last time.
    pub last: bool,
}

/// Reads the body of `request`, which has to be JSON if it says what it is; at most `bytes_max` bytes of it are held.
/// What it says is not looked at.
///
/// # Errors
/// 415: it says that it is something else; 413: it is longer, or says so; 400: it ended early.
pub async fn read_json<C: ChunkSource>(
    request: Request<'_>,
    mut body: C,
    bytes_max: usize,
) -> Result<Vec<u8>, ApiError> {
    if let Some(content_type) = request.content_type
        && !is_json(content_type)
    {
        return Err(ApiError::unsupported_media_type(content_type));
    }
    if request.content_length.is_some_and(|length| length > bytes_max as u64) {
        return Err(ApiError::too_large(bytes_max));
    }
    read_whole(&mut body, bytes_max).await.map_err(|failure| match failure {
        ReadFailure::TooLong(bytes_max) => ApiError::too_large(bytes_max),
        ReadFailure::Transport(_) => ApiError::invalid("The request body ended early."),
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use waggle_model::transport::TransportFailure;

    const BYTES_MAX: usize = 8;

    /// Chunks, and then an end or, if it is `cut`, none.
    struct Chunks<'a> {
        chunks: std::slice::Iter<'a, &'static str>,
        cut: bool,
    }

    impl ChunkSource for Chunks<'_> {
        async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
            match self.chunks.next() {
                None if self.cut => Err(TransportFailure::Cut("by the test".to_owned())),
                chunk => Ok(chunk.map(|chunk| chunk.as_bytes().to_vec())),
            }
        }
    }

    fn read(request: Request<'_>, chunks: &[&'static str], cut: bool) -> Result<String, u16> {
        let body = Chunks { chunks: chunks.iter(), cut };
        let read = block_on(read_json(request, body, BYTES_MAX));
        read.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.status)
    }

    #[test]
    fn a_body_that_says_what_it_is_has_to_be_json() {
        let check = |content_type: Option<&str>, expected: Result<&str, u16>| {
            let read = read(Request { content_type, ..Request::default() }, &["{}"], false);
            assert_eq!(read.as_deref(), expected.as_ref().copied(), "{content_type:?}");
        };
        check(None, Ok("{}"));
        check(Some("application/json"), Ok("{}"));
        check(Some("Application/JSON; charset=utf-8"), Ok("{}"));
        check(Some("application/problem+json"), Ok("{}"));
        check(Some("text/json"), Err(415));
        check(Some("text/plain"), Err(415));
        check(Some(""), Err(415));
    }

    #[test]
    fn no_more_of_a_body_is_held_than_may() {
        let check = |length: Option<u64>, chunks: &[&'static str], expected: Result<&str, u16>| {
            let read = read(Request { content_length: length, ..Request::default() }, chunks, false);
            assert_eq!(read.as_deref(), expected.as_ref().copied(), "{length:?} {chunks:?}");
        };
        check(None, &[], Ok(""));
        check(Some(8), &["1234", "5678"], Ok("12345678"));
        check(None, &["1234", "56789"], Err(413));
        check(Some(9), &[], Err(413));
    }

    #[test]
    fn a_body_that_is_cut_off_is_none() {
        assert_eq!(read(Request::default(), &["{}"], true), Err(400));
    }
}
