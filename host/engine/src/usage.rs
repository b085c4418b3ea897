//! What a model used, read off its answer as it passes: the host does not rely on what a function says of it.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::world::TokenSink;
use http_body_util::BodyExt as _;

/// The last bytes of an answer that are kept: the usage stands at its end, in a stream in its last event but one.
const TAIL_BYTES_MAX: usize = 4 * 1024;
/// The paths of the OpenAI API whose answers hold a usage.
const METERED_PATHS: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/embeddings"];
/// The member that says how much was used.
const TOTAL: &[u8] = b"\"total_tokens\"";
/// A token has four bytes of text, on average; for answers that do not say what they used.
const BYTES_PER_TOKEN: u64 = 4;

/// Whether calls to `path` use tokens.
pub(crate) fn is_metered(path: &str) -> bool {
    METERED_PATHS.iter().any(|metered| path.ends_with(metered))
}

/// An answer that tells `sink` what it used when it has ended, or when nobody reads on.
pub(crate) fn metered(inner: WasiBody, sink: Arc<dyn TokenSink>, request_bytes: u64) -> WasiBody {
    Metered { inner, sink, tail: Vec::new(), bytes: 0, events: 0, request_bytes }.boxed_unsync()
}

struct Metered {
    inner: WasiBody,
    sink: Arc<dyn TokenSink>,
    tail: Vec<u8>,
    bytes: u64,
    /// Server-sent events so far; each holds about one token.
    events: u64,
    request_bytes: u64,
}

impl Metered {
    fn see(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.events += count_events(data);
        let kept = &data[data.len().saturating_sub(TAIL_BYTES_MAX)..];
        let surplus = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(kept);
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let estimate = || {
            let answer = if self.events > 0 { self.events } else { self.bytes / BYTES_PER_TOKEN };
            answer + self.request_bytes / BYTES_PER_TOKEN
        };
        self.sink.spend(total_tokens(&self.tail).unwrap_or_else(estimate));
    }
}

fn count_events(data: &[u8]) -> u64 {
    data.windows(6).filter(|window| window == b"data: ").count() as u64
}

/// The last `total_tokens` in `tail`.
fn total_tokens(tail: &[u8]) -> Option<u64> {
    let at = tail.windows(TOTAL.len()).rposition(|window| window == TOTAL)?;
    let rest = tail.get(at + TOTAL.len()..)?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.see(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[derive(Default)]
    struct Sum(AtomicU64);

    impl TokenSink for Sum {
        fn spend(&self, tokens: u64) {
            self.0.fetch_add(tokens, SeqCst);
        }
    }

    async fn spent(chunks: &[&str], request_bytes: u64) -> u64 {
        let sum = Arc::new(Sum::default());
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from((*chunk).to_owned())))).collect();
        let body = StreamBody::new(futures::stream::iter(chunks)).boxed_unsync();
        let body = metered(body, Arc::clone(&sum) as Arc<_>, request_bytes);
        body.collect().await.unwrap();
        sum.0.load(SeqCst)
    }

    #[tokio::test]
    async fn what_the_model_says_it_used_counts() {
        assert_eq!(spent(&[r#"{"usage":{"prompt_tokens":3,"total_tokens": 12}}"#], 100).await, 12);
        let split = [r#"data: {"usage":{"total_to"#, r#"kens":"#, "7}}\n\ndata: [DONE]\n\n"];
        assert_eq!(spent(&split, 100).await, 7, "however it is cut");
        let long = "x".repeat(3 * TAIL_BYTES_MAX);
        assert_eq!(spent(&[&long, r#""total_tokens":5}"#], 100).await, 5);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_is_estimated() {
        assert_eq!(spent(&["12345678"], 40).await, 12);
        assert_eq!(spent(&["data: {}\n\ndata: {}\n\n"], 40).await, 12);
    }

    #[tokio::test]
    async fn nobody_pays_for_nothing() {
        let sum = Arc::new(Sum::default());
        let body = Full::new(Bytes::from_static(b"x")).map_err(|never| match never {}).boxed_unsync();
        drop(metered(body, Arc::clone(&sum) as Arc<_>, 400));
        assert_eq!(sum.0.load(SeqCst), 0);
    }

    #[test]
    fn the_paths_of_models_are_known_by_their_end() {
        assert!(is_metered("/v1/chat/completions") && is_metered("/api/openai/embeddings"));
        assert!(!is_metered("/v1/models"));
    }
}
