//! What a file really is: by its first bytes, then by its content, and only then by what its name says.
//!
//! What is a PDF is read as one whatever it is called. What is called a PDF and is text is told as what it is, since it is
//! most likely the page that a failed download left behind.

use crate::encoding;
use crate::error::ExtractError;
use crate::zip::Archive;
use serde::de::IgnoredAny;

/// How much of a text is looked at, in bytes.
const SAMPLE_BYTES_MAX: usize = 64 << 10;
/// How far into a PDF its first line may stand, in bytes; readers have always taken rubbish before it.
const PDF_HEADER_BYTES_MAX: usize = 1 << 10;
/// A text has at most one control character in so many characters.
const CONTROL_SHARE: usize = 200;

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text without a format.
    PlainText,
    /// CommonMark with GitHub's tables.
    Markdown,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
    /// Word's format since 2007.
    Docx,
    /// Values with commas, semicolons, tabs or bars between them.
    Csv,
    /// One JSON value a line.
    JsonLines,
    /// One JSON value.
    Json,
    /// A program, or a configuration.
    Code,
}

impl Kind {
    /// A name for people, with its article.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PlainText => "plain text",
            Kind::Markdown => "Markdown",
            Kind::Html => "an HTML page",
            Kind::Pdf => "a PDF",
            Kind::Docx => "a Word document",
            Kind::Csv => "a CSV file",
            Kind::JsonLines => "a JSONL file",
            Kind::Json => "a JSON file",
            Kind::Code => "source code",
        }
    }
}

/// What came with a file besides its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// Its media type, with or without parameters.
    pub media_type: Option<&'a str>,
    /// The encoding of its text; else the `charset` of the media type.
    pub charset: Option<&'a str>,
}

impl<'a> Hints<'a> {
    /// The encoding that was told.
    pub(crate) fn told_charset(&self) -> Option<&'a str> {
        let of_type = || {
            let parameters = self.media_type?.split(';').skip(1);
            let mut values = parameters.filter_map(|parameter| parameter.trim().strip_prefix("charset="));
            values.next().map(|value| value.trim_matches('"'))
        };
        self.charset.or_else(of_type)
    }
}

/// What a name or a media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// A kind that is read.
    Kind(Kind),
    /// A kind that is not read and never is text.
    Other(&'static str),
    /// Nothing that helps.
    None,
}

/// What the file is to be read as.
///
/// # Errors
/// [`ExtractError::Empty`], [`ExtractError::Encrypted`], [`ExtractError::Unsupported`], [`ExtractError::Lying`],
/// [`ExtractError::Broken`].
pub fn detect(bytes: &[u8], name: &str, hints: &Hints<'_>) -> Result<Kind, ExtractError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ExtractError::Empty);
    }
    let claim = claim(name, hints);
    let head = bytes.get(..PDF_HEADER_BYTES_MAX).unwrap_or(bytes);
    if head.windows(5).any(|window| window == b"%PDF-") {
        return Ok(Kind::Pdf);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return of_archive(bytes, claim);
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Err(of_compound_file(bytes));
    }
    if let Some(found) = by_first_bytes(bytes) {
        return Err(ExtractError::Unsupported(found));
    }
    let sample = bytes.get(..SAMPLE_BYTES_MAX).unwrap_or(bytes);
    let encoding = encoding::of(bytes, hints.told_charset());
    let (sample, _, _) = encoding.decode(sample);
    if is_binary(&sample) {
        return Err(match claim {
            Claim::Kind(kind @ (Kind::Pdf | Kind::Docx)) => {
                ExtractError::broken(format!("it does not begin as {} does", kind.name()))
            }
            Claim::Other(found) => ExtractError::Unsupported(found),
            _ => ExtractError::Unsupported("binary data of a kind that is not known"),
        });
    }
    of_text(bytes, &sample, claim)
}

/// Which kind of ZIP archive it is.
fn of_archive(bytes: &[u8], claim: Claim) -> Result<Kind, ExtractError> {
    let archive = match Archive::open(bytes) {
        Ok(archive) => archive,
        Err(error @ ExtractError::TooLarge(_)) => return Err(error),
        Err(error) if claim == Claim::Kind(Kind::Docx) => return Err(error),
        Err(_) => return Err(ExtractError::Unsupported("a ZIP archive that is damaged")),
    };
    let has = |prefix: &str| archive.names().any(|name| name.starts_with(prefix));
    if has("word/document") {
        return Ok(Kind::Docx);
    }
    Err(ExtractError::Unsupported(if has("xl/") {
        "an Excel workbook (save it as CSV)"
    } else if has("ppt/") {
        "a PowerPoint presentation (save it as PDF)"
    } else if has("META-INF/container.xml") {
        "an EPUB book"
    } else if has("content.xml") {
        "an OpenDocument file (save it as DOCX or PDF)"
    } else {
        "a ZIP archive"
    }))
}

/// Which kind of Microsoft's older container it is. A DOCX with a password is one, too.
fn of_compound_file(bytes: &[u8]) -> ExtractError {
    let has = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes.windows(name.len()).any(|window| window == name)
    };
    if has("EncryptedPackage") {
        ExtractError::Encrypted
    } else if has("WordDocument") {
        ExtractError::Unsupported("a Word document of the old format (save it as DOCX)")
    } else if has("Workbook") {
        ExtractError::Unsupported("an Excel workbook (save it as CSV)")
    } else {
        ExtractError::Unsupported("an Office file of an old format (save it in the current one)")
    }
}

fn by_first_bytes(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 20] = [
        (b"{\\rtf", "an RTF document (save it as DOCX)"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"\xff\xd8\xff", "an image"),
        (b"GIF8", "an image"),
        (b"II*\0", "an image"),
        (b"MM\0*", "an image"),
        (b"RIFF", "an image, a sound or a film"),
        (b"ID3", "a sound"),
        (b"OggS", "a sound or a film"),
        (b"fLaC", "a sound"),
        (b"\x1a\x45\xdf\xa3", "a film"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"BZh", "a bzip2 archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x7fELF", "a program"),
        (b"\0asm", "a program"),
        (b"SQLite format 3\0", "a database"),
    ];
    let is_film = bytes.get(4..8) == Some(b"ftyp");
    let known = KNOWN.iter().find(|(first, _)| bytes.starts_with(first)).map(|(_, name)| *name);
    known.or(is_film.then_some("an image, a sound or a film"))
}

fn is_binary(sample: &str) -> bool {
    let is_control = |character: &char| {
        *character == '\0'
            || (character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
    };
    let controls = sample.chars().filter(is_control).count();
    controls * CONTROL_SHARE > sample.chars().count()
}

fn of_text(bytes: &[u8], sample: &str, claim: Claim) -> Result<Kind, ExtractError> {
    let is_page = is_page(sample);
    let found = if is_page { Kind::Html } else { Kind::PlainText };
    match claim {
        Claim::Kind(claimed @ (Kind::Pdf | Kind::Docx)) => {
            Err(ExtractError::Lying { claimed: claimed.name(), found: found.name() })
        }
        Claim::Other(claimed) if is_never_text(claimed) => {
            Err(ExtractError::Lying { claimed, found: found.name() })
        }
        Claim::Kind(Kind::Code) => Ok(Kind::Code),
        _ if is_page => Ok(Kind::Html),
        Claim::Kind(Kind::Html) if !has_tags(sample) => Ok(Kind::PlainText),
        Claim::Kind(Kind::Json | Kind::JsonLines) => Ok(of_json(bytes, claim)),
        Claim::Kind(kind) => Ok(kind),
        Claim::Other(_) | Claim::None => Ok(sniffed(bytes, sample)),
    }
}

/// Office programs are known to write pages and commas under their own extensions; images never are text.
fn is_never_text(claimed: &str) -> bool {
    !claimed.contains("Excel") && !claimed.contains("Word") && !claimed.contains("Office")
}

fn sniffed(bytes: &[u8], sample: &str) -> Kind {
    if sample.trim_start().starts_with(['{', '[']) && is_json(bytes) {
        return Kind::Json;
    }
    if sample.trim_start().starts_with('{') && first_line_is_json(sample) {
        return Kind::JsonLines;
    }
    if is_markdown(sample) { Kind::Markdown } else { Kind::PlainText }
}

/// Both are mixed up often enough that content decides.
fn of_json(bytes: &[u8], claim: Claim) -> Kind {
    let is_one = is_json(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    match claim {
        Claim::Kind(Kind::JsonLines) if is_one && lines > 1 => Kind::Json,
        Claim::Kind(Kind::Json)
            if !is_one && lines > 1 && first_line_is_json(&String::from_utf8_lossy(bytes)) =>
        {
            Kind::JsonLines
        }
        Claim::Kind(kind) => kind,
        _ => Kind::Json,
    }
}

fn is_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fn first_line_is_json(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.lines().next().is_some_and(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
}

/// Whether the text begins as a page does, comments and an XML declaration aside.
fn is_page(sample: &str) -> bool {
    let mut rest = sample.trim_start();
    for _ in 0..16 {
        let end = match rest {
            _ if rest.starts_with("<!--") => rest.find("-->").map(|at| at + 3),
            _ if rest.starts_with("<?xml") => rest.find("?>").map(|at| at + 2),
            _ => break,
        };
        let Some(after) = end.and_then(|end| rest.get(end..)) else { return false };
        rest = after.trim_start();
    }
    let begins = |tag: &str| rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body")
}

fn has_tags(sample: &str) -> bool {
    let mut pairs = sample.as_bytes().windows(2);
    pairs.any(|pair| pair[0] == b'<' && (pair[1].is_ascii_alphabetic() || matches!(pair[1], b'/' | b'!')))
}

/// Whether at least two lines can hardly be anything but Markdown.
fn is_markdown(sample: &str) -> bool {
    let is_sign = |line: &&str| {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        let is_heading = (1..=6).contains(&hashes) && line.as_bytes().get(hashes) == Some(&b' ');
        is_heading
            || line.starts_with("```")
            || line.contains("](")
            || line.starts_with("|--")
            || line.starts_with("| --")
    };
    sample.lines().filter(is_sign).count() >= 2
}

fn claim(name: &str, hints: &Hints<'_>) -> Claim {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = extension.as_deref().map_or(Claim::None, by_extension);
    if by_name != Claim::None {
        return by_name;
    }
    let media_type = hints.media_type.and_then(|told| told.split(';').next()).unwrap_or_default();
    by_media_type(&media_type.trim().to_ascii_lowercase())
}

fn by_extension(extension: &str) -> Claim {
    Claim::Kind(match extension {
        "txt" | "text" | "log" | "asc" => Kind::PlainText,
        "md" | "markdown" | "mdown" | "mkd" | "mdx" => Kind::Markdown,
        "html" | "htm" | "xhtml" => Kind::Html,
        "pdf" => Kind::Pdf,
        "docx" | "docm" | "dotx" => Kind::Docx,
        "csv" | "tsv" => Kind::Csv,
        "jsonl" | "ndjson" => Kind::JsonLines,
        "json" => Kind::Json,
        "c" | "cc" | "cpp" | "cs" | "css" | "go" | "h" | "hpp" | "ini" | "java" | "js" | "jsx" | "kt"
        | "lua" | "mjs" | "php" | "pl" | "py" | "rb" | "rs" | "scala" | "sh" | "sql" | "swift" | "tex"
        | "toml" | "ts" | "tsx" | "xml" | "yaml" | "yml" => Kind::Code,
        "doc" => return Claim::Other("a Word document of the old format (save it as DOCX)"),
        "xls" | "xlsx" => return Claim::Other("an Excel workbook (save it as CSV)"),
        "ppt" | "pptx" | "odt" | "ods" | "odp" => return Claim::Other("an Office file (save it as PDF)"),
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" | "tif" | "tiff" | "heic" => {
            return Claim::Other("an image");
        }
        "mp3" | "wav" | "m4a" | "ogg" | "flac" => return Claim::Other("a sound"),
        "mp4" | "mov" | "avi" | "mkv" | "webm" => return Claim::Other("a film"),
        "zip" | "gz" | "tgz" | "bz2" | "xz" | "7z" | "rar" | "tar" => return Claim::Other("an archive"),
        _ => return Claim::None,
    })
}

fn by_media_type(media_type: &str) -> Claim {
    Claim::Kind(match media_type {
        "text/markdown" | "text/x-markdown" => Kind::Markdown,
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "application/pdf" => Kind::Pdf,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => Kind::Docx,
        "text/csv" | "text/tab-separated-values" => Kind::Csv,
        "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => Kind::JsonLines,
        "application/json" => Kind::Json,
        _ if media_type.starts_with("image/") => return Claim::Other("an image"),
        _ if media_type.starts_with("audio/") => return Claim::Other("a sound"),
        _ if media_type.starts_with("video/") => return Claim::Other("a film"),
        // `text/plain` is what clients say of whatever they don't know.
        _ => return Claim::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], name: &str, expected: Result<Kind, &str>) {
        let found = detect(bytes, name, &Hints::default());
        assert_eq!(found.map_err(|error| error.code()), expected, "{name}");
    }

    #[test]
    fn content_counts_more_than_the_name() {
        check(b"%PDF-1.7\n", "a.txt", Ok(Kind::Pdf));
        check(b"\n\njunk%PDF-1.7\n", "a", Ok(Kind::Pdf));
        check(b"<!-- x --><!DOCTYPE HTML><p>", "a.txt", Ok(Kind::Html));
        check(b"<?xml version='1.0'?><html>", "a.csv", Ok(Kind::Html));
        check(b"just text", "a.html", Ok(Kind::PlainText));
        check(b"just text", "a.pdf", Err("wrong_type"));
        check(b"<html>404 Not Found</html>", "a.docx", Err("wrong_type"));
        check(b"just text", "a.png", Err("wrong_type"));
        check(b"<html><table>", "a.xls", Ok(Kind::Html));
        check(b"{\"a\":1}\n{\"a\":2}\n", "a.json", Ok(Kind::JsonLines));
        check(b"[\n{\"a\":1}\n]\n", "a.jsonl", Ok(Kind::Json));
    }

    #[test]
    fn a_file_without_a_telling_name_is_looked_into() {
        check(b"# A\n\ntext\n\n## B\n", "README", Ok(Kind::Markdown));
        check(b"{\"a\": [1, 2]}", "data", Ok(Kind::Json));
        check(b"{\"a\":1}\n{\"a\":2}", "data", Ok(Kind::JsonLines));
        check(b"{ is this JSON? }", "data", Ok(Kind::PlainText));
        check(b"fn main() {}", "main.rs", Ok(Kind::Code));
        let hints = Hints { media_type: Some("text/csv; charset=gbk"), charset: None };
        assert_eq!(detect(b"a,b\n1,2", "upload", &hints), Ok(Kind::Csv));
        assert_eq!(hints.told_charset(), Some("gbk"));
    }

    #[test]
    fn what_is_not_read_is_named() {
        check(b"", "a.txt", Err("empty_file"));
        check(b" \n\t ", "a.pdf", Err("empty_file"));
        check(b"\x89PNG\r\n\x1a\n....", "a.pdf", Err("unsupported_file"));
        check(b"\xff\xd8\xff\xe0", "photo", Err("unsupported_file"));
        check(b"PK\x03\x04 broken", "a.docx", Err("broken_file"));
        check(b"PK\x03\x04 broken", "a.zip", Err("unsupported_file"));
        check(b"{\\rtf1 text}", "a.doc", Err("unsupported_file"));
        check(&[0, 1, 2, 3, 4, 5, 0, 0, 7], "a.txt", Err("unsupported_file"));
        check(&[0, 1, 2, 3, 4, 5, 0, 0, 7], "a.pdf", Err("broken_file"));
        let mut compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        check(&compound, "a.doc", Err("unsupported_file"));
        compound.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        check(&compound, "a.docx", Err("encrypted_file"));
    }
}
