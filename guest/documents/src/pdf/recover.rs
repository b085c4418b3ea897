//! Finds the objects of a PDF whose tables are wrong, by looking for where objects begin.

use super::file::{OBJECTS_MAX, Place};
use super::lexer::{Lexer, is_space};
use super::object::Dictionary;
use crate::error::ExtractError;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// How far into an object it is looked at to know what it is, in bytes.
const HEAD_BYTES_MAX: usize = 512;

/// How many trailers are read, the last ones of a file: each change of it adds one.
const TRAILERS_MAX: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The last object of each number.
    pub(super) places: HashMap<u32, Place>,
    pub(super) trailer: Option<Rc<Dictionary>>,
    /// Objects that hold others.
    pub(super) object_streams: Vec<u32>,
    pub(super) catalog: Option<u32>,
}

/// Looks through the whole file, once.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(super) fn find(bytes: &[u8]) -> Result<Found, ExtractError> {
    let mut found = Found::default();
    let mut trailers = VecDeque::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at..).and_then(next_keyword) {
        at += length;
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"trailer") {
            note_trailer(at + 7, &mut trailers);
            at += 7;
            continue;
        }
        if let Some((number, offset)) = number_before(bytes, at) {
            found.places.insert(number, Place::Offset(offset));
            take_head(bytes, at + 3, number, &mut found, &mut trailers);
        }
        if found.places.len() > OBJECTS_MAX {
            return Err(ExtractError::more_than(OBJECTS_MAX, "objects"));
        }
        at += 3;
    }
    for at in trailers {
        take_trailer(bytes, at, &mut found);
    }
    Ok(found)
}

/// Where the next `obj` or `trailer` stands.
fn next_keyword(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest.get(at..)?.iter().position(|byte| matches!(byte, b'o' | b't'))?;
        let here = rest.get(at..)?;
        if here.starts_with(b"obj") || here.starts_with(b"trailer") {
            return Some(at);
        }
        at += 1;
    }
}

/// The number before the generation before a place, and where it begins.
fn number_before(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let generation = digits_before(bytes, at)?;
    let number = digits_before(bytes, generation.0)?;
    Some((u32::try_from(number.1).ok()?, number.0))
}

fn digits_before(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let before = bytes.get(at.saturating_sub(32)..at)?;
    let spaces = before.iter().rev().take_while(|byte| is_space(**byte)).count();
    let digits = before.iter().rev().skip(spaces).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=10).contains(&digits) {
        return None;
    }
    let end = at - spaces;
    let number = bytes
        .get(end - digits..end)?
        .iter()
        .fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some((end - digits, number))
}

fn note_trailer(at: usize, trailers: &mut VecDeque<usize>) {
    if trailers.len() == TRAILERS_MAX {
        trailers.pop_front();
    }
    trailers.push_back(at);
}

fn take_trailer(bytes: &[u8], at: usize, found: &mut Found) {
    let trailer = Lexer::new(bytes, at).object().and_then(|trailer| trailer.dictionary());
    if let Some(trailer) = trailer
        && trailer.has("Root")
    {
        found.trailer = Some(trailer);
    }
}

/// Notes an object that holds others, that is a table, or that is the catalog. It is looked at up to its end only, so that a
/// file of nothing but beginnings is looked at once.
fn take_head(bytes: &[u8], at: usize, number: u32, found: &mut Found, trailers: &mut VecDeque<usize>) {
    let rest = bytes.get(at..).unwrap_or_default();
    for (place, byte) in rest.iter().take(HEAD_BYTES_MAX).enumerate() {
        let here = rest.get(place..).unwrap_or_default();
        match byte {
            b'o' if here.starts_with(b"obj") => return,
            b's' if here.starts_with(b"stream") => return,
            b'/' if here.starts_with(b"/ObjStm") => return found.object_streams.push(number),
            b'/' if here.starts_with(b"/XRef") => return note_trailer(at, trailers),
            b'/' if here.starts_with(b"/Catalog") => {
                found.catalog = Some(number);
                return;
            }
            _ => {}
        }
    }
}
