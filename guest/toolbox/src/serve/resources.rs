//! The tenant's files as resources, asked of the function that has them: the caller sees theirs, as everywhere.

use crate::fetch::{FetchError, Fetched, fetch, get_json};
use serde::Deserialize;
use waggle_mcp::Fetch;
use waggle_mcp::server::{
    Contents, PAGE_ENTRIES, Page, ServedResource, ServedTemplate, ServerFailure, ServerResources,
};
use waggle_openai::FileId;
use waggle_openai::error::echo;
use waggle_openai::percent;

const ORIGIN: &str = "http://retrieval.spin.internal";
/// What the addresses of files begin with.
const PREFIX: &str = "waggle://files/";
/// How long the function may be silent, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// The longest list, in bytes.
const LIST_BYTES_MAX: usize = 1 << 20;
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// The files.
#[derive(Debug)]
pub(crate) struct McpResources<F> {
    fetch: F,
}

#[derive(Deserialize)]
struct FileList {
    data: Vec<File>,
    #[serde(default)]
    last_id: Option<String>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct File {
    id: String,
    filename: String,
    bytes: u64,
}

/// What a file is, as its name says.
fn mime_type(filename: &str) -> Option<&'static str> {
    let extension = filename.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match extension.as_str() {
        "md" | "markdown" => "text/markdown",
        "txt" | "log" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "jsonl" => "application/jsonl",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => return None,
    })
}

impl<F: Fetch> McpResources<F> {
    pub(crate) fn new(fetch: F) -> Self {
        Self { fetch }
    }

    async fn get(&self, path: &str, bytes_max: usize) -> Result<Fetched, ServerFailure> {
        let request = get_json(format!("{ORIGIN}{path}"), TIMEOUT_MS);
        fetch(&self.fetch, request, bytes_max).await.map_err(|error| match error {
            FetchError::TooLong(bytes_max) => {
                ServerFailure::Failed(format!("It is longer than the {bytes_max} bytes that are read."))
            }
            FetchError::Transport(_) => {
                ServerFailure::Failed("The files cannot be read at the moment.".to_owned())
            }
        })
    }
}

fn refused(answer: &Fetched) -> ServerFailure {
    match answer.status {
        429 | 503 => {
            let seconds = answer.retry_after_ms().and_then(|ms| u32::try_from(ms / 1000).ok());
            ServerFailure::Busy(seconds.unwrap_or(1))
        }
        _ => ServerFailure::Failed("The files cannot be read.".to_owned()),
    }
}

fn unreadable(_: serde_json::Error) -> ServerFailure {
    ServerFailure::Failed("The files cannot be read.".to_owned())
}

impl<F: Fetch> ServerResources for McpResources<F> {
    async fn resources(&self, cursor: Option<&str>) -> Result<Page<ServedResource>, ServerFailure> {
        let after = cursor.map(|cursor| format!("&after={}", percent::encode(cursor))).unwrap_or_default();
        let path = format!("/v1/files?limit={PAGE_ENTRIES}{after}");
        let answer = self.get(&path, LIST_BYTES_MAX).await?;
        match answer.status {
            200 => {}
            400 if cursor.is_some() => {
                return Err(ServerFailure::Invalid("The cursor is none that a page has given.".to_owned()));
            }
            _ => return Err(refused(&answer)),
        }
        let list: FileList = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        let entries = list.data.iter().map(|file| ServedResource {
            uri: format!("{PREFIX}{}", file.id),
            name: file.filename.clone(),
            description: None,
            mime_type: mime_type(&file.filename).map(str::to_owned),
            size: Some(file.bytes),
        });
        Ok(Page { entries: entries.collect(), next: list.last_id.filter(|_| list.has_more) })
    }

    async fn templates(&self) -> Result<Vec<ServedTemplate>, ServerFailure> {
        Ok(vec![ServedTemplate {
            uri_template: format!("{PREFIX}{{file_id}}"),
            name: "file".to_owned(),
            description: Some("A file that was uploaded, by its id.".to_owned()),
            mime_type: None,
        }])
    }

    async fn read(&self, uri: &str) -> Result<Vec<Contents>, ServerFailure> {
        let unknown = || ServerFailure::Unknown(format!("There is no resource '{}'.", echo(uri)));
        let file = uri.strip_prefix(PREFIX).and_then(FileId::parse).ok_or_else(unknown)?;
        let answer = self.get(&format!("/v1/files/{file}"), LIST_BYTES_MAX).await?;
        match answer.status {
            200 => {}
            404 => return Err(unknown()),
            _ => return Err(refused(&answer)),
        }
        let described: File = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        if described.bytes > FILE_BYTES_MAX as u64 {
            let told = format!("The file has {} bytes; at most {FILE_BYTES_MAX} are read.", described.bytes);
            return Err(ServerFailure::Failed(told));
        }
        let answer = self.get(&format!("/v1/files/{file}/content"), FILE_BYTES_MAX).await?;
        match answer.status {
            200 => {}
            404 => return Err(unknown()),
            _ => return Err(refused(&answer)),
        }
        let mime_type = mime_type(&described.filename).map(str::to_owned);
        Ok(vec![contents(uri, mime_type, answer.body)])
    }
}

/// Text as such, anything else as bytes.
fn contents(uri: &str, mime_type: Option<String>, bytes: Vec<u8>) -> Contents {
    let uri = uri.to_owned();
    if bytes.contains(&0) {
        return Contents::Bytes { uri, mime_type, bytes };
    }
    match String::from_utf8(bytes) {
        Ok(text) => Contents::Text { uri, mime_type, text },
        Err(error) => Contents::Bytes { uri, mime_type, bytes: error.into_bytes() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_what_is_none() {
        let of = |bytes: &[u8]| contents("u", None, bytes.to_vec());
        assert!(matches!(of("é".as_bytes()), Contents::Text { text, .. } if text == "é"));
        assert!(matches!(of(b"a\0b"), Contents::Bytes { .. }));
        assert!(matches!(of(b"\xff"), Contents::Bytes { bytes, .. } if bytes == b"\xff"));
        assert_eq!(mime_type("a.b.MD"), Some("text/markdown"));
        assert_eq!(mime_type("README"), None);
    }
}
