//! Routes: patterns as Spin writes them, and the table that finds the one that serves a path. Pure; knows no HTTP.

mod table;

use std::fmt;
use std::ops::Range;

pub use table::{RouteMatch, RouteTable};

/// The longest route; a longer one is a mistake.
pub const ROUTE_BYTES_MAX: usize = 2_048;

/// A parsed route: literal segments, `:name` parameters, and possibly `/...` at the end, which takes any rest.
///
/// A segment may join parameters and text by dots, such as `:file.json` or `v:major.:minor` (the first is the
/// parameter `file`; the second begins with the text `v:major`, because a parameter starts a segment or follows a
/// dot). As in Spin, `/*` at the end means the same as `/...`, a missing first `/` is added, and slashes at the end
/// have no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePattern {
    raw: String,
    normal: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) is_wildcard: bool,
}

/// What one segment of a path must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Parameter(String),
    /// Text and parameters joined by dots; a parameter inside takes the characters up to the next dot.
    Mixed(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    Parameter(String),
}

/// Why a text is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Bytes of the route that are wrong.
    pub range: Range<usize>,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RouteError {}

impl RoutePattern {
    /// Parses a route such as `/`, `/v1/chat`, `/users/:id` or `/files/...`.
    ///
    /// # Errors
    /// If it is too long, holds `?`, `#`, blanks or control characters, has a wildcard elsewhere than at the end, or
    /// a parameter without a name, with a name that fits no header, or named twice.
    pub fn parse(route: &str) -> Result<Self, RouteError> {
        check_characters(route)?;
        let trimmed = route.trim_start_matches('/').trim_end_matches('/');
        let (body, is_wildcard) = split_wildcard(trimmed);
        // `body` is a part of `route`, so that its place gives the bytes of a mistake.
        let offset = route.len() - route.trim_start_matches('/').len();
        let mut segments: Vec<Segment> = Vec::new();
        let mut position = offset;
        for text in body.split('/').filter(|_| !body.is_empty()) {
            let range = position..position + text.len();
            segments.push(parse_segment(text, &range)?);
            check_repeats(&segments, &range)?;
            position = range.end + 1;
        }
        let mut normal = format!("/{body}");
        if is_wildcard {
            normal.truncate(normal.trim_end_matches('/').len());
            normal.push_str("/...");
        }
        Ok(Self { raw: route.to_owned(), normal, segments, is_wildcard })
    }

    /// The route as written in the manifest.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The route in one spelling: with a first `/`, without slashes at the end, its wildcard as `/...`.
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// The route without its wildcard, as Spin's `spin-component-route` gives it; `""` for `/...`.
    pub fn prefix(&self) -> &str {
        self.normal.strip_suffix("/...").unwrap_or(&self.normal)
    }

    /// True if the route ends in `/...`.
    pub fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// The names of the parameters in order.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(Segment::parameter_names)
    }

    /// The route with every parameter's name left out: two routes of one shape match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Parameter(_) => shape.push(':'),
                Segment::Mixed(pieces) => pieces.iter().for_each(|piece| match piece {
                    Piece::Literal(text) => shape.push_str(text),
                    Piece::Parameter(_) => shape.push(':'),
                }),
            }
        }
        if self.is_wildcard {
            shape.push_str("/...");
        }
        shape
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normal)
    }
}

impl Segment {
    fn parameter_names(&self) -> impl Iterator<Item = &str> {
        let (own, pieces) = match self {
            Self::Literal(_) => (None, [].as_slice()),
            Self::Parameter(name) => (Some(name.as_str()), [].as_slice()),
            Self::Mixed(pieces) => (None, pieces.as_slice()),
        };
        own.into_iter().chain(pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Parameter(name) => Some(name.as_str()),
        }))
    }
}

fn check_characters(route: &str) -> Result<(), RouteError> {
    let wrong = |message: String, help: Option<&str>, range| {
        Err(RouteError { message, help: help.map(str::to_owned), range })
    };
    if route.is_empty() {
        return wrong(
            "a route must not be empty".to_owned(),
            Some("the root is `/`, everything is `/...`"),
            0..0,
        );
    }
    if route.len() > ROUTE_BYTES_MAX {
        let message = format!("a route has at most {ROUTE_BYTES_MAX} bytes, this one has {}", route.len());
        return wrong(message, None, 0..route.len());
    }
    let unusable = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#');
    let Some((at, character)) = route.char_indices().find(|(_, c)| unusable(*c)) else {
        return Ok(());
    };
    let message =
        format!("a route is matched against a path, which cannot hold `{}`", character.escape_debug());
    let help = match character {
        '?' => "leave the query out: it reaches the function with every request",
        '#' => "leave the fragment out: clients do not send it",
        _ => "write it percent-encoded, as it arrives in requests",
    };
    wrong(message, Some(help), at..at + character.len_utf8())
}

/// Takes `/...` or `/*` off the end of a route without its outer slashes.
fn split_wildcard(route: &str) -> (&str, bool) {
    for wildcard in ["...", "*"] {
        match route.strip_suffix(wildcard) {
            Some("") => return ("", true),
            Some(before) if before.ends_with('/') => return (before.trim_end_matches('/'), true),
            _ => {}
        }
    }
    (route, false)
}

fn parse_segment(text: &str, range: &Range<usize>) -> Result<Segment, RouteError> {
    let wrong = |message: &str, help: String| {
        Err(RouteError { message: message.to_owned(), help: Some(help), range: range.clone() })
    };
    if text.is_empty() {
        return wrong("this route has an empty segment", "write one `/` between segments".to_owned());
    }
    if text.contains("...") || text.contains('*') {
        let help = "`/...` at the end takes any rest; `:name` takes one segment".to_owned();
        return wrong("a wildcard can stand only at the end, as a segment of its own", help);
    }
    if matches!(text, "." | "..") {
        return wrong("clients resolve `.` and `..` before they send a path", "leave it out".to_owned());
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, part) in text.split('.').enumerate() {
        if index > 0 {
            push_text(&mut pieces, ".");
        }
        match part.strip_prefix(':') {
            Some(name) => {
                if let Err(help) = check_parameter_name(name) {
                    return wrong("this parameter has no usable name", help);
                }
                pieces.push(Piece::Parameter(name.to_owned()));
            }
            None => push_text(&mut pieces, part),
        }
    }
    Ok(match <[Piece; 1]>::try_from(pieces) {
        Ok([Piece::Literal(text)]) => Segment::Literal(text),
        Ok([Piece::Parameter(name)]) => Segment::Parameter(name),
        Err(pieces) => Segment::Mixed(pieces),
    })
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if let Some(Piece::Literal(last)) = pieces.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
}

/// A parameter reaches the function in a header `spin-path-match-NAME`, so its name must fit one.
fn check_parameter_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    Err("a parameter is `:` and a name of letters, digits, `_` and `-`, such as `:id`".to_owned())
}

/// Two parameters of one name would end in one header.
fn check_repeats(segments: &[Segment], range: &Range<usize>) -> Result<(), RouteError> {
    let names: Vec<String> =
        segments.iter().flat_map(Segment::parameter_names).map(str::to_ascii_lowercase).collect();
    let is_repeat = |(index, name): (usize, &String)| names.iter().take(index).any(|other| other == name);
    match names.iter().enumerate().find(|(index, name)| is_repeat((*index, name))) {
        None => Ok(()),
        Some((_, name)) => Err(RouteError {
            message: format!("the parameter `:{name}` stands twice in this route"),
            help: Some(
                "give each parameter its own name (upper and lower case count as the same)".to_owned(),
            ),
            range: range.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_one_spelling() {
        let check = |route: &str, expected: &str, prefix: &str| {
            let pattern = RoutePattern::parse(route).unwrap();
            assert_eq!((pattern.as_str(), pattern.prefix(), pattern.raw()), (expected, prefix, route));
        };
        check("/", "/", "/");
        check("//", "/", "/");
        check("/a", "/a", "/a");
        check("a/b/", "/a/b", "/a/b");
        check("/...", "/...", "");
        check("...", "/...", "");
        check("/*", "/...", "");
        check("/a/...", "/a/...", "/a");
        check("/a/*", "/a/...", "/a");
        check("/a/:id/...", "/a/:id/...", "/a/:id");
        check("/:file.json", "/:file.json", "/:file.json");
    }

    #[test]
    fn routes_of_one_shape_match_the_same_paths() {
        let shape = |route: &str| RoutePattern::parse(route).unwrap().shape();
        assert_eq!(shape("/a/:x"), shape("a/:y/"));
        assert_eq!(shape("/a/*"), shape("/a/..."));
        assert_eq!(shape("/:a.json"), shape("/:b.json"));
        assert_ne!(shape("/a/:x"), shape("/a/x"));
        assert_ne!(shape("/a"), shape("/a/..."));
    }

    #[test]
    fn mistakes_in_routes_are_placed() {
        let check = |route: &str, marked: &str, message: &str| {
            let error = RoutePattern::parse(route).unwrap_err();
            assert_eq!(&route[error.range.clone()], marked, "{route}: {error}");
            assert!(error.to_string().contains(message), "{route}: {error}");
        };
        check("", "", "must not be empty");
        check("/a?x=1", "?", "cannot hold `?`");
        check("/a b", " ", "cannot hold ` `");
        check("/a#b", "#", "cannot hold `#`");
        check("/a//b", "", "empty segment");
        check("/a.../b", "a...", "only at the end");
        check("/.../b", "...", "only at the end");
        check("/files...", "files...", "only at the end");
        check("//x/*/b", "*", "only at the end");
        check("/a*", "a*", "only at the end");
        check("/x/:", ":", "no usable name");
        check("/x/:a b", " ", "cannot hold");
        check("/x/:ä/y", ":ä", "no usable name");
        check("/:a/b/:A", ":A", "stands twice");
        check("/a/../b", "..", "resolve");
        check(&"/a".repeat(2_000), &"/a".repeat(2_000), "at most 2048 bytes");
    }
}
