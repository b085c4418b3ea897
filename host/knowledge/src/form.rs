//! The form by which a file is uploaded, written as the file is read: it is never held whole.

use bytes::{Bytes, BytesMut};
use futures::stream::{self, TryStreamExt as _};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use std::io;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, Take};

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A form with one file.
pub(crate) struct Form {
    pub(crate) body: Body,
    /// Its length, in bytes.
    pub(crate) length: u64,
    pub(crate) content_type: String,
}

/// What stands before the file.
fn head(boundary: &str, filename: &str) -> String {
    format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         content-type: application/octet-stream\r\n\r\n",
        quoted(filename)
    )
}

/// A name as HTML's forms write it between quotes.
fn quoted(filename: &str) -> String {
    filename.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// What is left to be written.
struct Rest {
    head: Option<Bytes>,
    file: Take<File>,
    tail: Option<Bytes>,
}

impl Rest {
    async fn piece(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if let Some(head) = self.head.take() {
            return Ok(Some((head, self)));
        }
        if self.file.limit() > 0 {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            if self.file.read_buf(&mut piece).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter meanwhile",
                ));
            }
            return Ok(Some((piece.freeze(), self)));
        }
        Ok(self.tail.take().map(|tail| (tail, self)))
    }
}

impl Form {
    /// A form with the first `bytes` bytes of a file. `hash` is that of its content: a boundary made of it is not in there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) async fn of_file(path: &Path, filename: &str, bytes: u64, hash: &str) -> io::Result<Self> {
        let boundary = format!("waggle-{hash}");
        let (head, tail) = (head(&boundary, filename), format!("\r\n--{boundary}--\r\n"));
        let length = bytes.saturating_add((head.len() + tail.len()) as u64);
        let file = File::open(path).await?.take(bytes);
        let rest = Rest { head: Some(head.into()), file, tail: Some(tail.into()) };
        let pieces = stream::try_unfold(rest, Rest::piece).map_ok(Frame::data);
        Ok(Self {
            body: StreamBody::new(pieces).boxed_unsync(),
            length,
            content_type: format!("multipart/form-data; boundary={boundary}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_holds_the_file_and_is_as_long_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for content in [String::new(), "bees".to_owned(), "x".repeat(3 * PIECE_BYTES + 1)] {
            std::fs::write(&path, &content).unwrap();
            let form = Form::of_file(&path, "a \"b\".txt", content.len() as u64, "00ff").await.unwrap();
            assert_eq!(form.content_type, "multipart/form-data; boundary=waggle-00ff");
            let body = form.body.collect().await.unwrap().to_bytes();
            assert_eq!(body.len() as u64, form.length);
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains("filename=\"a %22b%22.txt\""), "{text}");
            assert!(text.ends_with(&format!("\r\n\r\n{content}\r\n--waggle-00ff--\r\n")));
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_breaks_the_form_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "bees").unwrap();
        let form = Form::of_file(&path, "a.txt", 9, "00").await.unwrap();
        assert!(form.body.collect().await.is_err());
    }
}
