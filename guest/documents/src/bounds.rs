//! How much of a file is read.

/// What a file may hold at most. A file that holds more fails with [`ExtractError::TooLarge`](crate::ExtractError::TooLarge):
/// half a document would give wrong answers without anybody noticing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The file itself, in bytes.
    pub bytes_max: usize,
    /// The text that is extracted, in bytes of UTF-8.
    pub text_bytes_max: usize,
    /// The pages of a PDF.
    pub pages_max: usize,
    /// The blocks of a document.
    pub blocks_max: usize,
    /// All that is inflated of a DOCX or a PDF, one part after the other, in bytes. No part may have more than 32 MiB.
    pub uncompressed_bytes_max: usize,
}

/// What fits into an instance of 128 MiB, together with the file and the chunks.
impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            bytes_max: 32 << 20,
            text_bytes_max: 8 << 20,
            pages_max: 10_000,
            blocks_max: 200_000,
            uncompressed_bytes_max: 256 << 20,
        }
    }
}
