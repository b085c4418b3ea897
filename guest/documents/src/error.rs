//! What is wrong with a file, told to the person who uploaded it.

/// Why a file gave no document. `Display` is a sentence for its owner; [`ExtractError::code`] is for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// It holds nothing, or nothing but white space.
    #[error("The file is empty.")]
    Empty,
    /// It cannot be read without a password.
    #[error("The file is encrypted. Save it without a password and upload it again.")]
    Encrypted,
    /// It is of a kind that is read, but it is damaged; the text says where.
    #[error("The file is damaged: {0}.")]
    Broken(String),
    /// It is against one of the [`Bounds`](crate::Bounds); the text says which.
    #[error("The file is too large: {0}.")]
    TooLarge(String),
    /// It is of a kind that is not read; the text says which.
    #[error(
        "The file is {0}, which is not supported. Supported are plain text, Markdown, HTML, PDF, DOCX, CSV, JSON and JSONL."
    )]
    Unsupported(&'static str),
    /// It has pages, but no text.
    #[error(
        "The file has no text that can be read. If it was scanned, run it through text recognition (OCR) and upload it again."
    )]
    NoText,
    /// Its name says one thing and its content another.
    #[error("The file is named as {claimed}, but it holds {found}.")]
    Lying {
        /// What its name or media type says.
        claimed: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Its bytes are text in no encoding that is known here.
    #[error("The encoding of the file's text is not known. Save it as UTF-8 and upload it again.")]
    UnknownEncoding,
}

impl ExtractError {
    /// A name that does not change, whatever becomes of the sentence.
    pub fn code(&self) -> &'static str {
        match self {
            ExtractError::Empty => "empty_file",
            ExtractError::Encrypted => "encrypted_file",
            ExtractError::Broken(_) => "broken_file",
            ExtractError::TooLarge(_) => "file_too_large",
            ExtractError::Unsupported(_) => "unsupported_file",
            ExtractError::NoText => "no_text",
            ExtractError::Lying { .. } => "wrong_type",
            ExtractError::UnknownEncoding => "unknown_encoding",
        }
    }

    /// Whether files of this kind are never read, as opposed to this one. OpenAI's API tells `unsupported_file` from
    /// `invalid_file`.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, ExtractError::Unsupported(_))
    }

    /// A file that is damaged, and where.
    pub(crate) fn broken(what: impl Into<String>) -> ExtractError {
        ExtractError::Broken(what.into())
    }

    /// More of something than there may be.
    pub(crate) fn more_than(count: usize, of: &str) -> ExtractError {
        ExtractError::TooLarge(format!("it has more than {count} {of}"))
    }
}
