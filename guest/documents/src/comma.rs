//! CSV (RFC 4180, with whatever delimiter it has): a record a row.
//!
//! Read here rather than by a crate, so that a row of a million columns is refused before it is held.

use crate::document::Builder;
use crate::error::ExtractError;
use crate::record;

/// How many values a row may have.
const COLUMNS_MAX: usize = 1_000;
/// How many rows are looked at to find the delimiter.
const SAMPLE_ROWS: usize = 10;

/// Reads CSV.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut rows = Rows { rest: text, delimiter: delimiter(text)? };
    let Some(first) = rows.next_row()? else { return Ok(()) };
    let second = rows.next_row()?;
    let names = if is_header(&first, second.as_deref()) {
        first
    } else {
        push(&[], &first, builder)?;
        Vec::new()
    };
    let mut next = second;
    while let Some(row) = next {
        push(&names, &row, builder)?;
        next = rows.next_row()?;
    }
    Ok(())
}

fn push(names: &[String], row: &[String], builder: &mut Builder) -> Result<(), ExtractError> {
    let named = |place: usize| names.get(place).map_or("", String::as_str);
    let fields: Vec<(&str, &str)> =
        row.iter().enumerate().map(|(place, value)| (named(place), value.as_str())).collect();
    record::push(&fields, builder)
}

/// Whether the first row names the columns: by names that are known, or by being unlike a row of values.
fn is_header(first: &[String], second: Option<&[String]>) -> bool {
    if record::has_question_and_answer(first.iter().map(String::as_str)) {
        return true;
    }
    let is_name = |value: &String| {
        let value = value.trim();
        !value.is_empty()
            && value.len() <= 64
            && value.parse::<f64>().is_err()
            && !value.contains(['。', '\n'])
    };
    let is_unique = |(place, value): (usize, &String)| !first[..place].contains(value);
    second.is_some_and(|second| second.len() <= first.len())
        && first.iter().all(is_name)
        && first.iter().enumerate().all(is_unique)
}

/// The delimiter that parts most of the first rows into the same number of values, more than one.
fn delimiter(text: &str) -> Result<char, ExtractError> {
    let mut best = (0, ',');
    for delimiter in [',', '\t', ';', '|'] {
        let mut rows = Rows { rest: text, delimiter };
        let mut counts = Vec::new();
        while counts.len() < SAMPLE_ROWS
            && let Some(row) = rows.next_row()?
        {
            counts.push(row.len());
        }
        let columns = counts.first().copied().unwrap_or(0);
        let alike = counts.iter().filter(|count| **count == columns).count();
        if columns > 1 && alike > best.0 {
            best = (alike, delimiter);
        }
    }
    Ok(best.1)
}

struct Rows<'a> {
    rest: &'a str,
    delimiter: char,
}

impl Rows<'_> {
    /// The next row that has a value; `None` at the end.
    fn next_row(&mut self) -> Result<Option<Vec<String>>, ExtractError> {
        while !self.rest.is_empty() {
            let row = self.row()?;
            if row.iter().any(|value| !value.trim().is_empty()) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn row(&mut self) -> Result<Vec<String>, ExtractError> {
        let mut row = Vec::new();
        loop {
            let (value, is_last) = self.value();
            if row.len() >= COLUMNS_MAX {
                return Err(ExtractError::more_than(COLUMNS_MAX, "columns"));
            }
            row.push(value);
            if is_last {
                return Ok(row);
            }
        }
    }

    /// The next value, and whether it ends its row. A quote that is never closed ends with the text.
    fn value(&mut self) -> (String, bool) {
        let mut value = String::new();
        if let Some(mut inside) = self.rest.strip_prefix('"') {
            while let Some((before, after)) = inside.split_once('"') {
                value.push_str(before);
                inside = after;
                let Some(after) = inside.strip_prefix('"') else {
                    self.rest = inside;
                    return self.end_of(value);
                };
                value.push('"');
                inside = after;
            }
            value.push_str(inside);
            self.rest = "";
            return (value, true);
        }
        self.end_of(value)
    }

    /// What stands up to the next delimiter or line end, added to the value.
    fn end_of(&mut self, mut value: String) -> (String, bool) {
        let delimiter = self.delimiter;
        let end =
            self.rest.find([delimiter, '\n', '\r']);
        let Some(end) = end else {
            value.push_str(self.rest);
            self.rest = "";
            return (value, true);
        };
        let (before, after) = self.rest.split_at(end);
        value.push_str(before);
        if let Some(after) = after.strip_prefix(delimiter) {
            self.rest = after;
            return (value, false);
        }
        self.rest = after.strip_prefix("\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        (value, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::detect::Kind;

    fn texts(text: &str) -> Vec<String> {
        let mut builder = Builder::new(&Bounds::default());
        read(text, &mut builder).unwrap();
        let document = builder.finish(Kind::Csv, "a", None).unwrap();
        document.blocks.into_iter().map(|block| format!("{:?} {}", block.kind, block.text)).collect()
    }

    #[test]
    fn questions_and_answers_are_found_by_their_columns() {
        let chinese = "分类,问题,答案\n售后,\"怎么退货,\n换货？\",\"七天内\"\"无理由\"\"\"\n,没有答案,\n";
        let expected =
            ["QuestionAnswer 怎么退货, 换货？\n七天内\"无理由\"\n分类: 售后", "Record 问题: 没有答案"];
        assert_eq!(texts(chinese), expected);
        assert_eq!(texts("q;a\r\nWhy?;Because.\r\n"), ["QuestionAnswer Why?\nBecause."]);
    }

    #[test]
    fn other_columns_are_named_in_each_record() {
        let expected = ["Record name: Pen\nprice: 2", "Record name: Book\nprice: 30\nextra"];
        assert_eq!(texts("name\tprice\nPen\t2\nBook\t30\textra"), expected);
        assert_eq!(texts("1,2\n3,4"), ["Record 1\n2", "Record 3\n4"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_with_the_file() {
        assert_eq!(texts("a,b\n\"x,y\n1,2")[0], "Record a: x,y\n1,2");
    }

    #[test]
    fn a_row_of_too_many_values_is_refused() {
        let mut builder = Builder::new(&Bounds::default());
        let error = read(&",".repeat(COLUMNS_MAX), &mut builder).unwrap_err();
        assert_eq!(error.code(), "file_too_large");
        assert!(builder.is_empty());
    }
}
