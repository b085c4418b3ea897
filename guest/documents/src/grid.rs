//! Tables on their way to text: rows of cells, one line a row.

use crate::document::{BlockKind, Builder, one_line};
use crate::error::ExtractError;

/// What stands between two cells.
pub(crate) const CELL_SEPARATOR: &str = " | ";

/// A table that is being read.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    rows: Vec<String>,
    row: Vec<String>,
    columns_max: usize,
    has_header: bool,
    bytes: usize,
}

impl Grid {
    /// Adds a cell to the row.
    pub(crate) fn cell(&mut self, text: &str) {
        let text = one_line(text).replace('|', "/");
        self.bytes += text.len() + CELL_SEPARATOR.len();
        self.row.push(text);
    }

    /// About how many bytes it has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first row names the columns.
    pub(crate) fn set_header(&mut self) {
        if self.rows.is_empty() {
            self.has_header = true;
        }
    }

    /// Whether no row has ended yet.
    pub(crate) fn is_first_row(&self) -> bool {
        self.rows.is_empty()
    }

    /// Ends the row.
    pub(crate) fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        if row.iter().any(|cell| !cell.is_empty()) {
            self.columns_max = self.columns_max.max(row.len());
            self.rows.push(row.join(CELL_SEPARATOR));
        }
    }

    /// All rows as lines.
    pub(crate) fn into_text(mut self) -> String {
        self.end_row();
        self.rows.join("\n")
    }

    /// Adds the table to the document; one of a single column is paragraphs, since it only arranges them.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(crate) fn push(mut self, builder: &mut Builder) -> Result<(), ExtractError> {
        self.end_row();
        if self.columns_max > 1 {
            let header = self.has_header && self.rows.len() > 1;
            return builder.push(BlockKind::Table { header }, &self.rows.join("\n"));
        }
        self.rows.iter().try_for_each(|row| builder.push(BlockKind::Paragraph, row))
    }
}
