//! What a model used, read off its answer as it passes: the host does not rely on what a function says of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The last bytes of an answer that are kept: the usage stands at its end, in a stream in its last event but one.
const TAIL_BYTES_MAX: usize = 4 * 1024;
/// The paths of the OpenAI API whose answers hold a usage.
const METERED_PATHS: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/embeddings"];
/// A token has four bytes of text, on average; for answers that do not say what they used.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, those from the upstream's cache included.
    pub input: u64,
    /// Tokens of the prompt that the upstream had in its cache.
    pub cached_input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Whether they were counted here because the answer does not say, or was cut before it could.
    pub is_estimate: bool,
}

impl Usage {
    /// All tokens.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// Whether calls to `path` use tokens.
#[must_use]
pub fn is_metered(path: &str) -> bool {
    METERED_PATHS.iter().any(|metered| path.ends_with(metered))
}

/// About how many tokens `bytes` of text are.
#[must_use]
pub fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// The body of a model's answer. It tells what was used once: when it has ended, or when nobody reads on. An answer of which
/// nothing has come has used nothing.
pub struct MeteredBody<B, F: FnOnce(Usage)> {
    inner: B,
    tell: Option<F>,
    tail: Vec<u8>,
    bytes: u64,
    /// Server-sent events so far; each holds about one token.
    events: u64,
    request_bytes: u64,
}

impl<B, F: FnOnce(Usage)> MeteredBody<B, F> {
    /// Reads along in `inner`, the answer to a request with a body of `request_bytes`, and calls `tell` with what it used.
    pub fn new(inner: B, request_bytes: u64, tell: F) -> Self {
        Self { inner, tell: Some(tell), tail: Vec::new(), bytes: 0, events: 0, request_bytes }
    }

    fn see(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.events += count_events(data);
        let kept = &data[data.len().saturating_sub(TAIL_BYTES_MAX)..];
        let surplus = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(kept);
    }

    fn usage(&self) -> Usage {
        if self.bytes == 0 {
            return Usage::default();
        }
        said(&self.tail).unwrap_or_else(|| Usage {
            input: estimated_tokens(self.request_bytes),
            cached_input: 0,
            output: if self.events > 0 { self.events } else { estimated_tokens(self.bytes) },
            is_estimate: true,
        })
    }
}

impl<B, F: FnOnce(Usage)> Drop for MeteredBody<B, F> {
    fn drop(&mut self) {
        let usage = self.usage();
        if let Some(tell) = self.tell.take() {
            tell(usage);
        }
    }
}

fn count_events(data: &[u8]) -> u64 {
    data.windows(6).filter(|window| window == b"data: ").count() as u64
}

/// What the usage object at the end of `tail` says, in the words of Chat Completions or of Responses.
fn said(tail: &[u8]) -> Option<Usage> {
    let total = last_number(tail, b"\"total_tokens\"")?;
    let named = |names: [&[u8]; 2]| names.into_iter().find_map(|name| last_number(tail, name));
    let output = named([b"\"completion_tokens\"", b"\"output_tokens\""]).unwrap_or(0).min(total);
    let cached_input = last_number(tail, b"\"cached_tokens\"").unwrap_or(0);
    let input = total - output;
    Some(Usage { input, cached_input: cached_input.min(input), output, is_estimate: false })
}

/// The number behind the last `key` in `tail`.
fn last_number(tail: &[u8], key: &[u8]) -> Option<u64> {
    let at = tail.windows(key.len()).rposition(|window| window == key)?;
    let rest = tail.get(at + key.len()..)?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

impl<B, F> Body for MeteredBody<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Usage) + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
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
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    async fn used(chunks: &[&str], request_bytes: u64) -> Usage {
        let told = Arc::new(Mutex::new(None));
        let chunks: Vec<Result<_, Infallible>> =
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from((*chunk).to_owned())))).collect();
        let body = StreamBody::new(futures::stream::iter(chunks));
        let told_here = Arc::clone(&told);
        let body =
            MeteredBody::new(body, request_bytes, move |usage| *told_here.lock().unwrap() = Some(usage));
        body.collect().await.unwrap();
        let told = told.lock().unwrap();
        told.unwrap()
    }

    #[tokio::test]
    async fn what_the_model_says_it_used_counts() {
        let check = async |chunks: &[&str], input, cached_input, output| {
            let expected = Usage { input, cached_input, output, is_estimate: false };
            assert_eq!(used(chunks, 100).await, expected, "{chunks:?}");
        };
        check(&[r#"{"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens": 12}}"#], 3, 0, 9).await;
        check(&[r#"{"usage":{"total_tokens": 12}}"#], 12, 0, 0).await;
        let split =
            [r#"data: {"usage":{"completion_tokens":3,"total_to"#, r#"kens":"#, "7}}\n\ndata: [DONE]\n\n"];
        check(&split, 4, 0, 3).await;
        let long = "x".repeat(3 * TAIL_BYTES_MAX);
        check(&[&long, r#""total_tokens":5}"#], 5, 0, 0).await;
        let responses = r#"{"usage":{"input_tokens":40,"input_tokens_details":{"cached_tokens":30},"output_tokens":2,
            "output_tokens_details":{"reasoning_tokens":1},"total_tokens":42}}"#;
        check(&[responses], 40, 30, 2).await;
        let streamed =
            format!("event: response.completed\ndata: {{\"response\":{}}}\n\n", responses.replace('\n', " "));
        check(&["event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n", &streamed], 40, 30, 2)
            .await;
        check(&[r#"{"completion_tokens":99,"total_tokens":5,"cached_tokens":9}"#], 0, 0, 5).await;
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_is_estimated() {
        let estimate = |input, output| Usage { input, cached_input: 0, output, is_estimate: true };
        assert_eq!(used(&["12345678"], 40).await, estimate(10, 2));
        assert_eq!(used(&["data: {}\n\ndata: {}\n\n"], 40).await, estimate(10, 2));
    }

    #[tokio::test]
    async fn nobody_pays_for_nothing_and_it_is_told_all_the_same() {
        let told = Arc::new(Mutex::new(None));
        let told_here = Arc::clone(&told);
        let body = Full::new(Bytes::from_static(b"x"));
        drop(MeteredBody::new(body, 400, move |usage| *told_here.lock().unwrap() = Some(usage)));
        assert_eq!(*told.lock().unwrap(), Some(Usage::default()));
    }

    #[test]
    fn the_paths_of_models_are_known_by_their_end() {
        assert!(is_metered("/v1/chat/completions") && is_metered("/api/openai/embeddings"));
        assert!(!is_metered("/v1/models"));
    }
}
