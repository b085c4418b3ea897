//! Markdown: CommonMark with GitHub's tables.
//!
//! A long text is read in segments, since the parser holds what it has read: a file of nothing but asterisks would take fifty
//! times its size.

use crate::document::{BlockKind, Builder};
use crate::error::ExtractError;
use crate::grid::Grid;
use crate::html;
use pulldown_cmark::{BrokenLink, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

/// How much is parsed at once, in bytes.
const SEGMENT_BYTES_MAX: usize = 256 << 10;

/// Reads Markdown.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut rest = text;
    let mut is_first = true;
    while !rest.is_empty() {
        let (segment, after) = rest.split_at(segment_end(rest));
        read_segment(segment, is_first, builder)?;
        rest = after;
        is_first = false;
    }
    Ok(())
}

/// Where the next segment ends: before a heading if there is one in its second half, else after a blank line, else after a
/// line.
fn segment_end(text: &str) -> usize {
    if text.len() <= SEGMENT_BYTES_MAX {
        return text.len();
    }
    let mut end = SEGMENT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (first, half) = (&text[..end], end / 2);
    let found = ["\n# ", "\n## ", "\n### ", "\n\n", "\n"].iter().find_map(|mark| first.rfind(mark));
    found.filter(|at| *at > half).map_or(end, |at| at + 1)
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_HEADING_ATTRIBUTES
}

fn read_segment(segment: &str, is_first: bool, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut options = options();
    options.set(Options::ENABLE_YAML_STYLE_METADATA_BLOCKS, is_first);
    // A reference may be defined in another segment; its text is all that is wanted.
    let resolve = |link: BrokenLink<'_>| {
        matches!(link.link_type, LinkType::Reference | LinkType::Collapsed)
            .then_some((CowStr::Borrowed(""), CowStr::Borrowed("")))
    };
    let parser = Parser::new_with_broken_link_callback(segment, options, Some(resolve));
    let mut reader =
        Reader { builder, text: String::new(), lists: Vec::new(), grid: None, metadata: false, page: None };
    for event in parser {
        reader.take(event)?;
    }
    reader.flush(BlockKind::Paragraph)
}

struct Reader<'a> {
    builder: &'a mut Builder,
    /// What the block has so far.
    text: String,
    /// The number of the next item of each list that is open.
    lists: Vec<Option<u64>>,
    grid: Option<Grid>,
    /// Whether this is the front matter.
    metadata: bool,
    /// HTML within the text.
    page: Option<String>,
}

impl Reader<'_> {
    fn flush(&mut self, kind: BlockKind) -> Result<(), ExtractError> {
        let text = std::mem::take(&mut self.text);
        self.builder.push(kind, &text)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), ExtractError> {
        match event {
            Event::Start(tag) => self.start(&tag)?,
            Event::End(tag) => self.end(tag)?,
            Event::Text(text) | Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.text.push_str(&text);
            }
            Event::SoftBreak | Event::HardBreak => self.text.push('\n'),
            Event::Rule if self.lists.is_empty() => self.flush(BlockKind::Paragraph)?,
            Event::Html(part) => self.page.get_or_insert_default().push_str(&part),
            Event::InlineHtml(tag) if tag.starts_with("<br") => self.text.push('\n'),
            Event::TaskListMarker(is_done) => self.text.push_str(if is_done { "[x] " } else { "[ ] " }),
            Event::InlineHtml(_) | Event::FootnoteReference(_) | Event::Rule => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>) -> Result<(), ExtractError> {
        match tag {
            Tag::Paragraph | Tag::Heading { .. } if self.lists.is_empty() => {
                self.flush(BlockKind::Paragraph)?
            }
            Tag::CodeBlock(_) | Tag::HtmlBlock if self.lists.is_empty() => {
                self.flush(BlockKind::Paragraph)?
            }
            Tag::CodeBlock(_) => self.line(),
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.flush(BlockKind::Paragraph)?;
                }
                self.lists.push(*first);
            }
            Tag::Item => self.item(),
            Tag::Table(_) => {
                if self.lists.is_empty() {
                    self.flush(BlockKind::Paragraph)?;
                }
                self.grid = Some(Grid::default());
            }
            Tag::TableHead | Tag::TableRow | Tag::TableCell if self.lists.is_empty() => self.text.clear(),
            Tag::MetadataBlock(_) => self.metadata = true,
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn item(&mut self) {
        self.line();
        self.text.push_str(&"  ".repeat(self.lists.len().saturating_sub(1)));
        match self.lists.last_mut() {
            Some(Some(number)) => {
                self.text.push_str(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            _ => self.text.push_str("- "),
        }
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), ExtractError> {
        match tag {
            TagEnd::Heading(level) if self.lists.is_empty() => self.heading(level)?,
            TagEnd::Paragraph if self.lists.is_empty() => self.flush(BlockKind::Paragraph)?,
            TagEnd::CodeBlock if self.lists.is_empty() => self.flush(BlockKind::Code)?,
            TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::Heading(_) => self.line(),
            TagEnd::HtmlBlock => {
                let page = self.page.take().unwrap_or_default();
                if self.lists.is_empty() {
                    html::read_fragment(&page, self.builder)?;
                }
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.flush(BlockKind::List)?;
                }
            }
            TagEnd::DefinitionListTitle | TagEnd::DefinitionListDefinition => self.line(),
            TagEnd::TableCell | TagEnd::TableHead | TagEnd::TableRow | TagEnd::Table => self.table(tag)?,
            TagEnd::MetadataBlock(_) => self.front_matter(),
            _ => {}
        }
        Ok(())
    }

    fn heading(&mut self, level: HeadingLevel) -> Result<(), ExtractError> {
        if level == HeadingLevel::H1 {
            self.builder.set_title(&self.text);
        }
        self.flush(BlockKind::Heading { level: level as u8 })
    }

    /// Of the front matter, only the title is text.
    fn front_matter(&mut self) {
        self.metadata = false;
        let text = std::mem::take(&mut self.text);
        let title = text.lines().find_map(|line| line.strip_prefix("title:"));
        self.builder.set_title(title.unwrap_or_default().trim().trim_matches(['"', '\'']));
    }

    fn table(&mut self, tag: TagEnd) -> Result<(), ExtractError> {
        let Some(grid) = &mut self.grid else { return Ok(()) };
        match tag {
            TagEnd::TableCell => grid.cell(&std::mem::take(&mut self.text)),
            TagEnd::TableHead => {
                grid.set_header();
                grid.end_row();
            }
            TagEnd::TableRow => grid.end_row(),
            _ => {
                let grid = self.grid.take().unwrap_or_default();
                if self.lists.is_empty() {
                    return grid.push(self.builder);
                }
                self.line();
                self.text.push_str(&grid.into_text());
                self.line();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::detect::Kind;

    fn texts(text: &str) -> (String, Vec<String>) {
        let mut builder = Builder::new(&Bounds::default());
        read(text, &mut builder).unwrap();
        let document = builder.finish(Kind::Markdown, "name.md", None).unwrap();
        let blocks = document.blocks.into_iter().map(|block| format!("{:?} {}", block.kind, block.text));
        (document.title, blocks.collect())
    }

    #[test]
    fn each_kind_of_block_is_found() {
        let text = "# Guide\n\nSome *emphasised* text with a [link](https://a.example) and a [reference][r].\n\n\
                    - one\n- two\n  1. inner\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls -l\n  x\n```\n\n\
                    > quoted\n\n<table><tr><td>x</td><td>y</td></tr></table>\n";
        let (title, blocks) = texts(text);
        assert_eq!(title, "Guide");
        let expected = [
            "Heading { level: 1 } Guide",
            "Paragraph Some emphasised text with a link and a reference.",
            "List - one\n- two\n  1. inner",
            "Table { header: true } a | b\n1 | 2",
            "Code ls -l\n  x",
            "Paragraph quoted",
            "Table { header: false } x | y",
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn the_front_matter_gives_the_title_only() {
        let (title, blocks) = texts("---\ntitle: \"Returns\"\ndraft: true\n---\n\ntext\n");
        assert_eq!((title.as_str(), blocks.len()), ("Returns", 1));
    }

    #[test]
    fn a_long_text_is_read_in_segments_without_losing_any() {
        let text: String =
            (0..30_000).map(|number| format!("## Part {number}\n\nText {number}.\n\n")).collect();
        assert!(text.len() > 3 * SEGMENT_BYTES_MAX);
        let (_, blocks) = texts(&text);
        assert_eq!(blocks.len(), 60_000);
        assert_eq!(blocks[59_999], "Paragraph Text 29999.");
    }
}
