//! One entry of `allowed_outbound_hosts`: `scheme://host:port`, each part open to `*`.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use super::{default_port, is_self};

/// A parsed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundHost {
    /// By which protocols.
    pub scheme: SchemePattern,
    /// To which hosts.
    pub host: HostPattern,
    /// To which ports.
    pub port: PortPattern,
}

/// The part before `://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemePattern {
    /// `*`
    Any,
    /// A name, in lower case.
    Named(String),
}

/// The part between `://` and the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`
    Any,
    /// `self`: the application itself.
    Itself,
    /// A name, in lower case.
    Name(String),
    /// `*.domain`: every name that ends so, not the domain itself; holds the domain in lower case, without `*.`.
    Subdomains(String),
    /// An IP address.
    Address(IpAddr),
    /// An IP network, `address/bits`; bits of the address past the prefix have no meaning.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many first bits an address must share with `address`; at most 32 or 128.
        prefix_bits: u8,
    },
}

/// The part after the last `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortPattern {
    /// `*`
    Any,
    /// A number, or the scheme's default.
    One(u16),
    /// `first..end`, without the end, as in Spin.
    Range(Range<u16>),
}

/// Why a text is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundHostError {
    /// What is wrong, as a sentence without a full stop. Never holds the text itself, which may come from a secret.
    pub message: String,
    /// What to write instead; never holds the text itself either.
    pub help: String,
    /// Bytes of the text that are wrong.
    pub range: Range<usize>,
}

impl fmt::Display for OutboundHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.help)
    }
}

impl std::error::Error for OutboundHostError {}

const FORM_HELP: &str =
    "the form is `scheme://host:port`, such as `https://api.example.com`; `*` stands for any";

/// A piece of the entry and where it starts.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Part<'a> {
    fn slice(self, range: Range<usize>) -> Self {
        Self { text: self.text.get(range.clone()).unwrap_or(""), start: self.start + range.start }
    }

    fn wrong<T>(self, message: &str, help: &str) -> Result<T, OutboundHostError> {
        let range = self.start..self.start + self.text.len();
        Err(OutboundHostError { message: message.to_owned(), help: help.to_owned(), range })
    }

    fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..start + self.text.trim().len())
    }
}

impl OutboundHost {
    /// Parses an entry such as `https://api.example.com`, `*://*:*`, `http://*.example.com:8080`,
    /// `redis://10.0.0.0/8:6379` or `http://self`. One `/` at the end is allowed.
    ///
    /// # Errors
    /// If a part is missing or wrong, or the text holds a path, a query, a fragment or a user.
    pub fn parse(text: &str) -> Result<Self, OutboundHostError> {
        let whole = Part { text, start: 0 }.trim();
        let Some(split) = whole.text.find("://") else {
            return refuse_without_scheme(whole);
        };
        let scheme_part = whole.slice(0..split);
        let rest = whole.slice(split + 3..whole.text.len());
        let scheme = parse_scheme(scheme_part)?;
        let rest = rest.slice(0..rest.text.strip_suffix('/').unwrap_or(rest.text).len());
        refuse_url_parts(rest)?;
        let (host, port) = split_port(rest);
        let host = parse_host(host)?;
        let port = match port {
            Some(port) => parse_port(port)?,
            None => default_port_of(scheme_part, &scheme)?,
        };
        Ok(Self { scheme, host, port })
    }
}

fn refuse_without_scheme<T>(whole: Part<'_>) -> Result<T, OutboundHostError> {
    match whole.text {
        "insecure:allow-all" | "*" | "*:*" => whole.wrong(
            "this form is not understood",
            "`*://*:*` allows everything, and takes every protection away",
        ),
        "" => whole.wrong("an entry must not be empty", FORM_HELP),
        "self" => whole.wrong("the scheme is missing", "write `http://self`"),
        _ => whole.wrong("the scheme is missing", FORM_HELP),
    }
}

fn parse_scheme(part: Part<'_>) -> Result<SchemePattern, OutboundHostError> {
    match part.text {
        "*" => Ok(SchemePattern::Any),
        "" => part.wrong("the scheme is missing", FORM_HELP),
        text if text.starts_with('{') => {
            part.wrong("lists of schemes are not understood", "write one entry for each scheme, or `*`")
        }
        text if !text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            part.wrong("a scheme holds only letters, or is `*`", FORM_HELP)
        }
        text => Ok(SchemePattern::Named(text.to_ascii_lowercase())),
    }
}

/// Refuses what a URL may have and an entry may not, each by its name. `rest` is what follows `://`.
fn refuse_url_parts(rest: Part<'_>) -> Result<(), OutboundHostError> {
    if let Some(at) = rest.text.find('@') {
        let help = "leave everything up to the `@` out; credentials belong to variables or to the host's configuration";
        return rest.slice(0..at + 1).wrong("an entry holds no user or password", help);
    }
    for (character, message) in [('?', "an entry holds no query"), ('#', "an entry holds no fragment")] {
        if let Some(at) = rest.text.find(character) {
            return rest.slice(at..rest.text.len()).wrong(message, "only scheme, host and port are compared");
        }
    }
    if let Some(slash) = rest.text.find('/').filter(|slash| !is_network_slash(rest.text, *slash)) {
        let help = "only scheme, host and port are compared; leave the path out";
        return rest.slice(slash..rest.text.len()).wrong("an entry holds no path", help);
    }
    Ok(())
}

/// True if the `/` belongs to an IP network such as `10.0.0.0/8`.
fn is_network_slash(rest: &str, slash: usize) -> bool {
    let (address, tail) = rest.split_at(slash);
    let bits = tail.trim_start_matches('/').split(':').next().unwrap_or("");
    parse_address(address).is_some() && tail.matches('/').count() == 1 && bits.parse::<u16>().is_ok()
}

fn parse_address(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text).parse().ok()
}

/// Splits the port off at the last `:` that is no part of an IPv6 address.
fn split_port(rest: Part<'_>) -> (Part<'_>, Option<Part<'_>>) {
    let end = rest.text.len();
    match rest.text.rfind(':') {
        Some(_) if parse_address(rest.text).is_some() || rest.text.ends_with(']') => (rest, None),
        Some(colon) if colon + 1 == end => (rest.slice(0..colon), None),
        Some(colon) => (rest.slice(0..colon), Some(rest.slice(colon + 1..end))),
        None => (rest, None),
    }
}

fn parse_host(part: Part<'_>) -> Result<HostPattern, OutboundHostError> {
    let part = part.trim();
    if let Some((address, bits)) = part.text.split_once('/') {
        return parse_network(part, address, bits);
    }
    if let Some(address) = parse_address(part.text) {
        return Ok(HostPattern::Address(address));
    }
    match part.text {
        "" => part.wrong("the host is missing", FORM_HELP),
        "*" => Ok(HostPattern::Any),
        text if is_self(text) => Ok(HostPattern::Itself),
        text if text.starts_with('{') => {
            part.wrong("lists of hosts are not understood", "write one entry for each host")
        }
        text if text.contains(':') || text.contains('[') => {
            part.wrong("this is no IPv6 address", "an IPv6 address stands in brackets: `http://[::1]:8080`")
        }
        text => match text.strip_prefix("*.") {
            Some(domain) => {
                check_name(part.slice(2..part.text.len()))?;
                Ok(HostPattern::Subdomains(domain.to_ascii_lowercase()))
            }
            None => check_name(part).map(|()| HostPattern::Name(text.to_ascii_lowercase())),
        },
    }
}

fn parse_network(part: Part<'_>, address: &str, bits: &str) -> Result<HostPattern, OutboundHostError> {
    let help = "a network is an address and a number of bits, such as `10.0.0.0/8` or `fd00::/8`";
    let Some(address) = parse_address(address) else {
        return part.wrong("this is no IP network", help);
    };
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    match bits.parse::<u8>() {
        Ok(prefix_bits) if prefix_bits <= bits_max => Ok(HostPattern::Network { address, prefix_bits }),
        _ => part.wrong(&format!("a prefix of this network has 0 to {bits_max} bits"), help),
    }
}

/// Checks a host's name: letters, digits, `-`, `_` and dots, in parts that are not empty.
fn check_name(part: Part<'_>) -> Result<(), OutboundHostError> {
    const PART_BYTES_MAX: usize = 63;
    const NAME_BYTES_MAX: usize = 253;
    let text = part.text;
    if text.contains('*') {
        return part
            .wrong("`*` stands for a whole host or for its first part", "such as `*` or `*.example.com`");
    }
    if !text.is_ascii() {
        return part.wrong(
            "a host is written in ASCII here",
            "write its punycode form, the one that starts with `xn--`",
        );
    }
    if text.bytes().any(|byte| !byte.is_ascii_alphanumeric() && !b"-_.".contains(&byte)) {
        return part.wrong("a host holds only letters, digits, `-`, `_` and `.`", FORM_HELP);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return part.wrong("this is no IPv4 address", "an IPv4 address has four numbers from 0 to 255");
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let fits = |label: &str| !label.is_empty() && label.len() <= PART_BYTES_MAX;
    if text.len() > NAME_BYTES_MAX || !text.split('.').all(fits) {
        return part.wrong("the parts of a host between dots have 1 to 63 characters", FORM_HELP);
    }
    Ok(())
}

fn parse_port(part: Part<'_>) -> Result<PortPattern, OutboundHostError> {
    let help = "a port is a number from 0 to 65535, a range such as `8000..8010` (without its end), or `*`";
    let number = |text: &str| text.parse::<u16>().ok();
    if part.text == "*" {
        return Ok(PortPattern::Any);
    }
    if part.text.starts_with('{') || part.text.contains(',') {
        return part.wrong("lists of ports are not understood", "write one entry for each port");
    }
    if let Some((first, end)) = part.text.split_once("..") {
        return match (number(first), number(end)) {
            (Some(first), Some(end)) if first < end => Ok(PortPattern::Range(first..end)),
            (Some(_), Some(_)) => part.wrong("this range of ports is empty", help),
            _ => part.wrong("this is no range of ports", help),
        };
    }
    match number(part.text) {
        Some(port) => Ok(PortPattern::One(port)),
        None => part.wrong("this is no port", help),
    }
}

fn default_port_of(part: Part<'_>, scheme: &SchemePattern) -> Result<PortPattern, OutboundHostError> {
    let known = match scheme {
        SchemePattern::Any => None,
        SchemePattern::Named(name) => default_port(name),
    };
    match known {
        Some(port) => Ok(PortPattern::One(port)),
        None => {
            part.wrong("the port is missing, and this scheme has no default", "add `:PORT`, or `:*` for any")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_and_placed() {
        let check = |text: &str, marked: &str, message: &str| {
            let error = OutboundHost::parse(text).unwrap_err();
            assert_eq!(&text[error.range.clone()], marked, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        };
        check("", "", "must not be empty");
        check("example.com", "example.com", "scheme is missing");
        check("localhost:3001", "localhost:3001", "scheme is missing");
        check("self", "self", "scheme is missing");
        check("*", "*", "not understood");
        check("insecure:allow-all", "insecure:allow-all", "not understood");
        check("://a", "", "scheme is missing");
        check("ht_tp://a", "ht_tp", "only letters");
        check("{http,https}://a", "{http,https}", "lists of schemes");
        check("http://", "", "host is missing");
        check("http://:80", "", "host is missing");
        check("http://a/b", "/b", "no path");
        check("http://a:80/b/c", "/b/c", "no path");
        check("http://*.a.b/x", "/x", "no path");
        check("http://a//", "/", "no path");
        check("http://a?x=1", "?x=1", "no query");
        check("http://a#f", "#f", "no fragment");
        check("  http://user:pw@a", "user:pw@", "no user or password");
        check("http://a*b.c", "a*b.c", "`*` stands");
        check("http://*.*.c", "*.c", "`*` stands");
        check("http://{a,b}", "{a,b}", "lists of hosts");
        check("http://bücher.example", "bücher.example", "ASCII");
        check("http://a b", "a b", "only letters");
        check("http://a..b", "a..b", "1 to 63");
        check("http://1.2.3.256", "1.2.3.256", "no IPv4");
        check("http://[::g]:80", "[::g]", "no IPv6");
        check("http://10.0.0.0/33:80", "10.0.0.0/33", "0 to 32 bits");
        check("*://10.0.0.0/8", "*", "port is missing");
        check("*://a", "*", "port is missing");
        check("amqp://a:", "amqp", "port is missing");
        check("http://a:{80,81}", "{80,81}", "lists of ports");
        check("http://a:99999", "99999", "no port");
        check("http://a:9..8", "9..8", "is empty");
        check("http://a:x..8", "x..8", "no range");
    }

    #[test]
    fn a_mistake_never_repeats_the_text() {
        for text in ["s3cret", "http://s3cret@a", "http://a/s3cret", "http://a:s3cret", "s3cret://a"] {
            let error = OutboundHost::parse(text).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
