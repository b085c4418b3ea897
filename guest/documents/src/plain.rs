//! Plain text: paragraphs with blank lines between them, and what can be told of headings and lists.

use crate::document::{BlockKind, Builder};
use crate::error::ExtractError;

/// A line that is longer is no heading, in bytes.
const HEADING_BYTES_MAX: usize = 120;

/// Reads plain text.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut paragraph = String::new();
    for line in text.lines() {
        if !line.trim().is_empty() {
            if is_chapter(line) {
                push(&paragraph, builder)?;
                paragraph.clear();
            }
            paragraph.push_str(line);
            paragraph.push('\n');
            if !is_chapter(line) {
                continue;
            }
        }
        push(&paragraph, builder)?;
        paragraph.clear();
    }
    push(&paragraph, builder)
}

fn push(paragraph: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut lines = paragraph.lines();
    let (Some(first), second) = (lines.next(), lines.next()) else { return Ok(()) };
    let rest = paragraph.get(first.len()..).unwrap_or_default();
    if let Some(level) = second.and_then(underline_level) {
        builder.push(BlockKind::Heading { level }, first)?;
        let below = rest.trim_start_matches('\n').split_once('\n').map_or("", |(_, below)| below);
        return push(below, builder);
    }
    if second.is_none()
        && let Some(level) = heading_level(first)
    {
        return builder.push(BlockKind::Heading { level }, first);
    }
    let kind = if paragraph.lines().all(|line| is_item(line.trim_start())) {
        BlockKind::List
    } else {
        BlockKind::Paragraph
    };
    builder.push(kind, paragraph)
}

/// Whether a line begins as an item of a list does.
pub(crate) fn is_item(line: &str) -> bool {
    if let Some(rest) =
        line.strip_prefix(['-', '*', '+', '•', '·', '●', '○', '◦', '▪', '■', '–', '‣', '\u{f0b7}'])
    {
        return rest.starts_with([' ', '\t']) || !line.starts_with(['-', '*', '+', '·', '–']);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line.get(digits..).unwrap_or_default();
    let is_numbered = (1..=3).contains(&digits)
        && (rest.starts_with(". ") || rest.starts_with(") ") || rest.starts_with('、'));
    let letters = line.strip_prefix(['(', '（']).and_then(|inner| inner.split_once([')', '）']));
    is_numbered || letters.is_some_and(|(inner, _)| inner.chars().count() <= 3 && !inner.is_empty())
}

fn underline_level(line: &str) -> Option<u8> {
    let line = line.trim_end();
    let is_all = |byte: u8| line.len() >= 3 && line.bytes().all(|other| other == byte);
    if is_all(b'=') { Some(1) } else { is_all(b'-').then_some(2) }
}

/// The level of a line that stands alone and is numbered as headings are: `2.3 Returns`, `第二章 退货`.
fn heading_level(line: &str) -> Option<u8> {
    let line = line.trim();
    if line.len() > HEADING_BYTES_MAX
        || line.ends_with(['.', '。', '；', ';', '，', ',', '：', ':', '！', '？'])
    {
        return None;
    }
    if let Some(level) = chapter_level(line) {
        return Some(level);
    }
    let number = line.split_whitespace().next()?;
    let parts: Vec<&str> = number.trim_end_matches('.').split('.').collect();
    let is_number =
        |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let has_title = line.len() > number.len();
    (has_title && (2..=5).contains(&parts.len()) && parts.iter().all(is_number)).then_some(parts.len() as u8)
}

fn is_chapter(line: &str) -> bool {
    line.len() <= HEADING_BYTES_MAX
        && chapter_level(line.trim()).is_some_and(|level| level < 3)
        && !line.trim_end().ends_with(['。', '；', '，'])
}

fn chapter_level(line: &str) -> Option<u8> {
    let rest = line.strip_prefix('第')?;
    let number: String = rest
        .chars()
        .take_while(|character| {
            character.is_ascii_digit() || "零〇一二三四五六七八九十百千两".contains(*character)
        })
        .collect();
    let after = rest.get(number.len()..)?;
    if number.is_empty() {
        return None;
    }
    let mut characters = after.chars();
    let level = match characters.next()? {
        '编' | '篇' | '卷' | '部' | '章' => 1,
        '节' => 2,
        '条' => 3,
        _ => return None,
    };
    // `第一部分` is a heading as well, `第一节课` is not.
    let next = characters.next();
    let is_heading = next.is_none_or(|next| !next.is_alphanumeric() || next == '分') || level == 1;
    is_heading.then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::detect::Kind;

    fn blocks(text: &str) -> Vec<(BlockKind, String)> {
        let mut builder = Builder::new(&Bounds::default());
        read(text, &mut builder).unwrap();
        let document = builder.finish(Kind::PlainText, "a", None).unwrap();
        document.blocks.into_iter().map(|block| (block.kind, block.text)).collect()
    }

    #[test]
    fn blank_lines_part_paragraphs_headings_and_lists() {
        let text = "Guide\n=====\nFirst line\nsecond line\n\n2.1 Returns\n\n- one\n- two\n\n2.1.\n\n1.5 litres are enough.\n";
        let expected = [
            (BlockKind::Heading { level: 1 }, "Guide"),
            (BlockKind::Paragraph, "First line\nsecond line"),
            (BlockKind::Heading { level: 2 }, "2.1 Returns"),
            (BlockKind::List, "- one\n- two"),
            (BlockKind::Paragraph, "2.1."),
            (BlockKind::Paragraph, "1.5 litres are enough."),
        ];
        assert_eq!(blocks(text), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn chinese_chapters_are_headings_without_blank_lines() {
        let found =
            blocks("第一章 总则\n本规定适用于所有员工。\n第二节 休假\n年假十天。\n第三方软件不在此列");
        let expected = [
            (BlockKind::Heading { level: 1 }, "第一章 总则"),
            (BlockKind::Paragraph, "本规定适用于所有员工。"),
            (BlockKind::Heading { level: 2 }, "第二节 休假"),
            (BlockKind::Paragraph, "年假十天。\n第三方软件不在此列"),
        ];
        assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
    }
}
