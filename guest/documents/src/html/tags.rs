//! What the names of HTML's elements mean to a reader of text.

/// What begins or ends with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Never text.
    Hidden,
    /// Not of this page: navigation, forms.
    Chrome,
    /// `<title>`.
    Title,
    /// `<main>`.
    Main,
    /// A heading of this level.
    Heading(u8),
    /// Something that begins on a line of its own.
    Block,
    /// A new line.
    Break,
    /// Preformatted text.
    Preformatted,
    /// A list, and whether it is numbered.
    List(bool),
    /// An item of a list.
    Item,
    /// A table.
    Table,
    /// A row of one.
    Row,
    /// A cell, and whether it names a column or row.
    Cell(bool),
    /// Part of a line.
    Inline,
}

/// What an element is.
pub(super) fn role(name: &[u8]) -> Role {
    match name {
        b"script" | b"style" | b"template" | b"svg" | b"math" | b"noscript" | b"iframe" | b"object"
        | b"canvas" | b"audio" | b"video" | b"select" | b"datalist" | b"noembed" | b"noframes" => {
            Role::Hidden
        }
        b"nav" | b"footer" | b"button" | b"textarea" | b"dialog" | b"menu" => Role::Chrome,
        b"title" => Role::Title,
        b"main" => Role::Main,
        [b'h', digit @ b'1'..=b'6'] => Role::Heading(digit - b'0'),
        b"br" => Role::Break,
        b"pre" | b"listing" | b"xmp" => Role::Preformatted,
        b"ul" | b"dir" => Role::List(false),
        b"ol" => Role::List(true),
        b"li" => Role::Item,
        b"table" => Role::Table,
        b"tr" => Role::Row,
        b"td" => Role::Cell(false),
        b"th" => Role::Cell(true),
        b"address" | b"article" | b"aside" | b"blockquote" | b"body" | b"caption" | b"center" | b"dd"
        | b"details" | b"div" | b"dl" | b"dt" | b"fieldset" | b"figcaption" | b"figure" | b"form"
        | b"head" | b"header" | b"hgroup" | b"hr" | b"html" | b"legend" | b"optgroup" | b"option" | b"p"
        | b"search" | b"section" | b"summary" | b"tbody" | b"tfoot" | b"thead" => Role::Block,
        _ => Role::Inline,
    }
}

/// Elements that have no end, so that nothing is inside of them.
pub(super) fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"param"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

/// Whether an attribute says that its element is not for readers, or not of this page.
pub(super) fn hides(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"hidden" => !value.eq_ignore_ascii_case(b"until-found"),
        b"aria-hidden" => value == b"true",
        b"role" => matches!(value, b"navigation" | b"search" | b"contentinfo" | b"menu" | b"menubar"),
        _ => false,
    }
}
