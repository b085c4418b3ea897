//! The function's component variables that bound what is stored. Those of models and searches are `waggle-search`'s.

use crate::problem::{Problem, internal};
use waggle_platform::Platform;

/// The bounds of what one owner stores and of what is made of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `file_bytes_max`: the longest file.
    pub file_bytes_max: u64,
    /// `files_max`: how many files an owner has.
    pub files_max: usize,
    /// `files_bytes_max`: how many bytes they have together.
    pub files_bytes_max: u64,
    /// `vector_stores_max`: how many vector stores an owner has.
    pub vector_stores_max: usize,
    /// `vector_store_files_max`: how many files a vector store has.
    pub vector_store_files_max: usize,
    /// `ingestion_files_max`: how many of these may wait to be taken in.
    pub ingestion_files_max: usize,
    /// `file_text_bytes_max`: how much text of one file is taken in.
    pub file_text_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            file_bytes_max: 32 << 20,
            files_max: 10_000,
            files_bytes_max: 10 << 30,
            vector_stores_max: 1_000,
            vector_store_files_max: 10_000,
            ingestion_files_max: 4_000,
            file_text_bytes_max: 8 << 20,
        }
    }
}

impl Bounds {
    /// Reads the variables.
    ///
    /// # Errors
    /// 500: one cannot be read, or is no whole number.
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        let default = Self::default();
        Ok(Self {
            file_bytes_max: number(platform, "file_bytes_max", default.file_bytes_max).await?,
            files_max: number(platform, "files_max", default.files_max).await?,
            files_bytes_max: number(platform, "files_bytes_max", default.files_bytes_max).await?,
            vector_stores_max: number(platform, "vector_stores_max", default.vector_stores_max).await?,
            vector_store_files_max: number(
                platform,
                "vector_store_files_max",
                default.vector_store_files_max,
            )
            .await?,
            ingestion_files_max: number(platform, "ingestion_files_max", default.ingestion_files_max).await?,
            file_text_bytes_max: number(platform, "file_text_bytes_max", default.file_text_bytes_max).await?,
        })
    }
}

async fn number<P: Platform, N: std::str::FromStr>(
    platform: &P,
    name: &str,
    default: N,
) -> Result<N, Problem> {
    let unreadable = |reason| internal(format!("the variable '{name}' cannot be read: {reason}"));
    let value = platform.variable(name).await.map_err(unreadable)?.unwrap_or_default();
    let value = value.trim();
    if value.is_empty() {
        return Ok(default);
    }
    let wrong = |_| internal(format!("the variable '{name}' must be a whole number, not '{value}'"));
    value.parse().map_err(wrong)
}
