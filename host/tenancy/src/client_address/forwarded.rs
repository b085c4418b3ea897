//! The values of `Forwarded` (RFC 7239, section 4) and of `X-Forwarded-For`, taken apart. Nothing here is an error: what
//! cannot be read is a hop of which nothing is known.
//!
//! It is more lenient than the standard where proxies are (an IPv6 address or a port without quotes), and stricter in one
//! thing: an escape within a quoted address makes it unreadable.

use super::Hop;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reports each element of one field line of `Forwarded`, from the left.
pub(super) fn elements(line: &[u8], mut report: impl FnMut(Hop)) {
    let mut rest = line;
    while !rest.is_empty() {
        let Some((element, after)) = element(rest) else {
            // From here on it is not known where an element ends.
            return report(None);
        };
        match element {
            Element::Empty => {}
            Element::For(hop) => report(hop),
        }
        rest = after;
    }
}

/// Reports each address of one field line of `X-Forwarded-For`, from the left.
pub(super) fn addresses(line: &[u8], mut report: impl FnMut(Hop)) {
    for part in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if !part.is_empty() {
            report(node(part));
        }
    }
}

enum Element {
    /// Nothing between two commas, which lists may have (RFC 9110, section 5.6.1.2).
    Empty,
    For(Hop),
}

/// The first element and what comes after its comma; none where it is malformed.
fn element(line: &[u8]) -> Option<(Element, &[u8])> {
    let mut rest = line.trim_ascii_start();
    let mut found: Option<Hop> = None;
    let mut empty = true;
    loop {
        match rest.split_first() {
            None | Some((b',', _)) => {
                let after = rest.get(1..).unwrap_or_default();
                let element = if empty { Element::Empty } else { Element::For(found.flatten()) };
                return Some((element, after));
            }
            Some((b';', after)) => rest = after.trim_ascii_start(),
            Some(_) => {
                let (name, value, after) = pair(rest)?;
                empty = false;
                if name.eq_ignore_ascii_case(b"for") {
                    // Each parameter occurs once at most (section 4).
                    found = Some(if found.is_none() { node(value) } else { None });
                }
                rest = after.trim_ascii_start();
                if !matches!(rest.first(), None | Some(b',' | b';')) {
                    return None;
                }
            }
        }
    }
}

/// `name=value` and what comes after; the value without its quotes.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| matches!(byte, b'=' | b',' | b';' | b'"'))?;
    let (name, value) = text.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let end = closing_quote(quoted)?;
        return Some((name, quoted.get(..end)?, quoted.get(end + 1..)?));
    }
    let is_end = |byte: &u8| matches!(byte, b',' | b';' | b'"') || byte.is_ascii_whitespace();
    let end = value.iter().position(is_end).unwrap_or(value.len());
    let (value, after) = value.split_at_checked(end)?;
    Some((name, value, after))
}

/// Where the quoted string ends whose opening quote has been taken off.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut index = 0;
    loop {
        match text.get(index)? {
            b'"' => return Some(index),
            b'\\' => index += 2,
            _ => index += 1,
        }
    }
}

/// The address of a node (section 6): with or without a port; none for `unknown`, for an obfuscated identifier, and for
/// what is no node.
fn node(text: &[u8]) -> Hop {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address.into());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    let address = address.parse::<Ipv4Addr>().ok()?;
    is_port(port).then_some(address.into())
}

/// A port, or an identifier that stands for one.
fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits || (text.starts_with('_') && text.len() > 1)
}
