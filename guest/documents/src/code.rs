//! Programs and configurations: their lines as they are.

use crate::document::{BlockKind, Builder};
use crate::error::ExtractError;

/// Reads code as one block; chunks are cut between its lines.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    builder.push(BlockKind::Code, text)
}
