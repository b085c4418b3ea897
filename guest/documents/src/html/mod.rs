//! HTML: what a reader sees, without what surrounds it.
//!
//! Read tag by tag with the standard's own tokenizer, without a tree: nothing here depends on how tags are nested, so a
//! million of them inside each other cost what a million beside each other do.

mod reader;
mod tags;

use crate::document::Builder;
use crate::error::ExtractError;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
use reader::{Reader, Scope};
use std::convert::Infallible;

/// Reads a page: of its `<main>` if it has one, without navigation and the like; where that leaves nothing, all of it.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let scopes = [
        Scope { is_main_only: true, is_all: false },
        Scope { is_main_only: false, is_all: false },
        Scope { is_main_only: false, is_all: true },
    ];
    for scope in scopes {
        if scope.is_main_only && !text.contains("<main") {
            continue;
        }
        read_scope(text, scope, builder)?;
        if !builder.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Reads HTML that stands inside of another text.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn read_fragment(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    read_scope(text, Scope { is_main_only: false, is_all: true }, builder)
}

fn read_scope(text: &str, scope: Scope, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut reader = Reader::new(builder, scope);
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _span: Span<()>| -> Option<Infallible> {
        reader.take(event);
        None
    });
    emitter.naively_switch_states(true);
    let Ok(()) = Tokenizer::new_with_emitter(text, emitter).finish();
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::detect::Kind;

    fn texts(text: &str) -> (String, Vec<String>) {
        let mut builder = Builder::new(&Bounds::default());
        read(text, &mut builder).unwrap();
        let document = builder.finish(Kind::Html, "name.html", None).unwrap();
        let blocks = document.blocks.into_iter().map(|block| format!("{:?} {}", block.kind, block.text));
        (document.title, blocks.collect())
    }

    #[test]
    fn what_a_reader_sees_is_kept_and_what_surrounds_it_is_not() {
        let page = "<!doctype html><head><title>Returns &amp; refunds</title><style>p{}</style></head><body>\
            <nav><ul><li>Home</ul></nav><header><h1>Returns</h1></header><script>if (a<b) {}</script>\
            <p>Within <b>seven</b>&nbsp;days,\n   free.<br>Really.<div hidden>secret</div>\
            <h2>How</h2><ol><li>Pack<li>Send<ul><li>by <i>mail</i></ul></ol>\
            <table><thead><tr><th>Item<th>Days</thead><tr><td>Book<td><p>7</p></table>\
            <pre>a\n  b</pre><footer>© 2026</footer>";
        let (title, blocks) = texts(page);
        assert_eq!(title, "Returns & refunds");
        let expected = [
            "Heading { level: 1 } Returns",
            "Paragraph Within seven days, free.\nReally.",
            "Heading { level: 2 } How",
            "List 1. Pack\n2. Send\n  - by mail",
            "Table { header: true } Item | Days\nBook | 7",
            "Code a\n  b",
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn the_main_part_is_all_there_is_where_a_page_has_one() {
        let (_, blocks) = texts("<div>Cookies!</div><main><p>Text</p></main><div>Imprint</div>");
        assert_eq!(blocks, ["Paragraph Text"]);
    }

    #[test]
    fn a_page_of_nothing_but_navigation_is_read_whole() {
        assert_eq!(texts("<nav>Only this").1, ["Paragraph Only this"]);
        assert_eq!(texts("<main></main><p>x").1, ["Paragraph x"]);
    }

    #[test]
    fn tags_that_are_nested_a_hundred_thousand_times_are_read() {
        let page = format!("{}deep", "<div><ul><li><table><tr><td>".repeat(100_000));
        assert!(texts(&page).1.iter().any(|block| block.contains("deep")));
    }
}
