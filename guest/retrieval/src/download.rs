//! `GET /v1/files/{file}/content`: a file's bytes, a part after another.

use crate::blob;
use waggle_conversation::Store;
use waggle_openai::Nonce;
use waggle_platform::{Platform, Sink};

/// The headers of a download. What a file says it is was said by whoever uploaded it, so no browser is to show it.
const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/octet-stream"),
    ("content-disposition", "attachment"),
    ("x-content-type-options", "nosniff"),
];

/// A file on its way out.
#[derive(Debug)]
pub struct Download<S, P> {
    pub(crate) store: S,
    pub(crate) platform: P,
    pub(crate) blob: Nonce,
    pub(crate) parts: u64,
}

impl<S: Store, P: Platform> Download<S, P> {
    /// The headers of the answer.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &HEADERS
    }

    /// Writes the file into `sink`, to its end. One that is deleted meanwhile ends early.
    pub async fn run<K: Sink>(self, mut sink: K) {
        for number in 0..self.parts {
            let part = match blob::part(&self.store, self.blob, number).await {
                Ok(Some(part)) => part,
                Ok(None) => return self.platform.log(&format!("file={} part={number} is gone", self.blob)),
                Err(error) => return self.platform.log(&format!("file={} part={number} {error}", self.blob)),
            };
            if sink.write(part).await.is_err() {
                return;
            }
        }
    }
}
