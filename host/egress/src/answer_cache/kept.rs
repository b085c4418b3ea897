//! An answer at rest: its head as others get it, and its pieces as they came.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::time::Instant;

use super::AnswerSource;
use super::complete::is_worth_keeping;

/// The largest answer that is kept, in bytes of its body.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The most pieces of an answer that is kept.
pub(crate) const ANSWER_PIECES_MAX: usize = 16 * 1024;
/// The header field that tells a function where its answer comes from: `hit`, `miss` or `off`.
pub const ANSWER_CACHE_FIELD: HeaderName = HeaderName::from_static("waggle-answer-cache");
/// The header field that tells how many attempts a call took: none were made for an answer that was there.
const ATTEMPTS_FIELD: HeaderName = HeaderName::from_static("waggle-attempts");
/// The fields of a head that tell of the answer; all others tell of the call, and belong to whoever made it.
const FIELDS_OF_ANSWER: [HeaderName; 4] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    HeaderName::from_static("waggle-model"),
    HeaderName::from_static("waggle-upstream"),
];
/// What an answer takes beside its bytes: key, head, and its places in the maps. Estimated upwards.
const OVERHEAD_BYTES: usize = 512;
/// Small pieces are copied into blocks of this size, as each may otherwise hold a whole buffer of its connection.
const BLOCK_BYTES: usize = 16 * 1024;

/// The head of an answer as those get it who did not make the call.
pub(crate) struct SharedHead(HeaderMap);

impl SharedHead {
    /// Copies what others get, so that nothing of the connection's buffers is held.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let copied = FIELDS_OF_ANSWER.into_iter().filter_map(|name| {
            let value = HeaderValue::from_bytes(headers.get(&name)?.as_bytes()).ok()?;
            Some((name, value))
        });
        Self(copied.collect())
    }

    /// A response with this head that comes from `source`.
    pub(crate) fn response<B>(&self, source: AnswerSource, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.headers_mut() = self.0.clone();
        response.headers_mut().insert(ATTEMPTS_FIELD, HeaderValue::from_static("0"));
        mark(&mut response, source);
        response
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }
}

/// Says in `response` where it comes from.
pub(crate) fn mark<B>(response: &mut Response<B>, source: AnswerSource) {
    response.headers_mut().insert(ANSWER_CACHE_FIELD, HeaderValue::from_static(source.as_str()));
    response.extensions_mut().insert(source);
}

/// Copies pieces into blocks that hold nothing else.
#[derive(Default)]
pub(crate) struct Blocks(BytesMut);

impl Blocks {
    pub(crate) fn copy(&mut self, piece: &[u8]) -> Bytes {
        if piece.len() >= BLOCK_BYTES / 4 {
            return Bytes::copy_from_slice(piece);
        }
        if self.0.capacity() < piece.len() {
            self.0 = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.0.extend_from_slice(piece);
        self.0.split().freeze()
    }
}

/// An answer that is kept, in one block of memory.
pub(crate) struct Kept {
    pub(crate) head: SharedHead,
    text: Bytes,
    /// Where each piece ends.
    ends: Box<[u32]>,
    /// When it had come whole.
    pub(crate) since: Instant,
}

impl Kept {
    /// `None` when it is not worth keeping, or cannot be looked into.
    pub(crate) fn of(headers: &HeaderMap, pieces: &[Bytes]) -> Option<Self> {
        let size = pieces.iter().map(Bytes::len).sum();
        if headers.contains_key(CONTENT_ENCODING) || size > ANSWER_BYTES_MAX {
            return None;
        }
        let mut text = Vec::with_capacity(size);
        let mut ends = Vec::with_capacity(pieces.len());
        for piece in pieces {
            text.extend_from_slice(piece);
            ends.push(u32::try_from(text.len()).ok()?);
        }
        let content_type = headers.get(CONTENT_TYPE)?.as_bytes();
        is_worth_keeping(content_type, &text).then(|| Self {
            head: SharedHead::of(headers),
            text: text.into(),
            ends: ends.into(),
            since: Instant::now(),
        })
    }

    /// The piece with this number; `None` after the last one.
    pub(crate) fn piece(&self, index: usize) -> Option<Bytes> {
        let end = *self.ends.get(index)? as usize;
        Some(self.text.slice(self.start(index)..end))
    }

    /// How many bytes come from the piece with this number on.
    pub(crate) fn bytes_from(&self, index: usize) -> u64 {
        (self.text.len() - self.start(index)) as u64
    }

    fn start(&self, index: usize) -> usize {
        let before = index.checked_sub(1);
        before.and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize)
    }

    /// What it takes of the bounds, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (OVERHEAD_BYTES + self.head.bytes() + self.text.len() + size_of_val(&*self.ends)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn others_get_what_tells_of_the_answer_and_nothing_of_the_call() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("waggle-model", "small"),
            ("waggle-upstream", "a"),
            ("waggle-attempts", "3"),
            ("content-length", "7"),
            ("set-cookie", "session=1"),
            ("x-ratelimit-remaining", "5"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let response = SharedHead::of(&headers).response(AnswerSource::Hit, ());
        let mut found: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        let expected = [
            "content-type: application/json",
            "waggle-answer-cache: hit",
            "waggle-attempts: 0",
            "waggle-model: small",
            "waggle-upstream: a",
        ];
        assert_eq!(found, expected);
        assert_eq!(response.extensions().get(), Some(&AnswerSource::Hit));
    }

    #[test]
    fn an_answer_that_cannot_be_looked_into_is_not_kept() {
        let answer = Bytes::from(r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#);
        let mut headers = HeaderMap::new();
        assert!(Kept::of(&headers, std::slice::from_ref(&answer)).is_none(), "without a type");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(Kept::of(&headers, std::slice::from_ref(&answer)).is_some());
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Kept::of(&headers, &[answer]).is_none(), "encoded");
    }

    proptest! {
        #[test]
        fn an_answer_is_replayed_in_the_pieces_in_which_it_came(cuts in proptest::collection::vec(0usize..66, 0..8)) {
            let answer = br#"{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}"#;
            let mut cuts = cuts;
            cuts.extend([0, answer.len()]);
            cuts.sort_unstable();
            let mut blocks = Blocks::default();
            let pieces: Vec<Bytes> =
                cuts.windows(2).map(|cut| blocks.copy(&answer[cut[0]..cut[1]])).collect();
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let kept = Kept::of(&headers, &pieces).unwrap();
            let replayed: Vec<Bytes> = (0..).map_while(|index| kept.piece(index)).collect();
            prop_assert_eq!(&replayed, &pieces);
            let mut left = answer.len();
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(kept.bytes_from(index), left as u64);
                left -= piece.len();
            }
            prop_assert_eq!(kept.bytes_from(pieces.len()), 0);
        }
    }
}
