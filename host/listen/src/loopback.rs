//! Whom a listener on a loopback address answers to. A page in a browser of this machine can have its own name resolve to a
//! loopback address (DNS rebinding); the name it calls the server by is then still its own.

use http::header::{self, HeaderMap};
use http::uri::{Authority, Uri};
use std::net::IpAddr;
use tokio::net::TcpListener;

/// Whether only this machine can reach `listener`.
#[must_use]
pub fn is_loopback(listener: &TcpListener) -> bool {
    listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// What a request calls the server, with or without a port: the authority of a target in absolute form goes before the
/// `Host` field (RFC 9112, section 3.2.2). None unless there is exactly one such field that can be read.
#[must_use]
pub fn called_name<'r>(target: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let mut fields = headers.get_all(header::HOST).iter();
    let (field, second) = (fields.next()?, fields.next());
    let field = field.to_str().ok().filter(|_| second.is_none())?;
    Some(target.authority().map_or(field, Authority::as_str))
}

/// Whether `name`, with or without a port, is a name or address of this machine that only it has.
#[must_use]
pub fn is_loopback_name(name: &str) -> bool {
    let name = match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || is_port(port) => address,
        Some(_) => return false,
        None => match name.rsplit_once(':') {
            Some((name, port)) if is_digits(port) => name,
            Some(_) => return false,
            None => name,
        },
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(is_digits)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn names_that_only_this_machine_has_are_told_from_others() {
        let check = |name: &str, expected: bool| assert_eq!(is_loopback_name(name), expected, "{name:?}");
        for name in ["localhost", "LocalHost:80", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8080"] {
            check(name, true);
        }
        for name in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "localhost:80@evil",
            "localhost@evil.test",
            "evil@localhost",
            "localhost:x",
            "10.0.0.1",
            "[::2]",
            "[::1]x",
            "[::1",
            "",
            "0x7f000001",
        ] {
            check(name, false);
        }
    }

    #[test]
    fn a_request_has_exactly_one_host_and_its_target_goes_before_it() {
        let check = |target: &'static str, hosts: &[&'static str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            assert_eq!(called_name(&Uri::from_static(target), &headers), expected, "{target} {hosts:?}");
        };
        check("/", &[], None);
        check("/", &["localhost"], Some("localhost"));
        check("/", &["localhost", "localhost"], None);
        check("http://evil.test:80/", &["localhost"], Some("evil.test:80"));
        check("http://localhost/", &[], None);
    }
}
