//! `allowed_outbound_hosts`: where a component may send requests. Pure; what an address resolves to, and whether a
//! private network may be reached, is decided where the connection is made.

mod pattern;

use std::net::IpAddr;

pub use pattern::{HostPattern, OutboundHost, OutboundHostError, PortPattern, SchemePattern};

/// The domain under which functions of one application call each other.
pub const SERVICE_CHAINING_DOMAIN: &str = "spin.internal";

/// The component that a host such as `chat.spin.internal` names, or nothing if it is an ordinary host. The case of the
/// domain does not matter.
pub fn service_chaining_target(host: &str) -> Option<&str> {
    let (component, domain) = host.split_once('.')?;
    (domain.eq_ignore_ascii_case(SERVICE_CHAINING_DOMAIN) && !component.is_empty()).then_some(component)
}

/// The port a scheme means when none is given, for the schemes Spin knows.
pub fn default_port(scheme: &str) -> Option<u16> {
    const PORTS: [(&str, u16); 6] =
        [("http", 80), ("https", 443), ("redis", 6379), ("postgres", 5432), ("mysql", 3306), ("mqtt", 1883)];
    PORTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, port)| *port)
}

/// A component's allow-list. Empty means that nothing is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundHosts {
    entries: Vec<OutboundHost>,
}

impl OutboundHosts {
    /// The list of these entries. `*.spin.internal` stands for the components named, as Spin expands it.
    pub fn new<'a>(
        entries: impl IntoIterator<Item = OutboundHost>,
        components: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        let mut expanded = Vec::new();
        for entry in entries {
            match &entry.host {
                HostPattern::Subdomains(domain) if domain == SERVICE_CHAINING_DOMAIN => {
                    let each = components.clone().into_iter().map(|component| {
                        let name = format!("{component}.{SERVICE_CHAINING_DOMAIN}").to_ascii_lowercase();
                        OutboundHost { host: HostPattern::Name(name), ..entry.clone() }
                    });
                    expanded.extend(each);
                }
                _ => expanded.push(entry),
            }
        }
        Self { entries: expanded }
    }

    /// The entries, `*.spin.internal` expanded.
    pub fn entries(&self) -> &[OutboundHost] {
        &self.entries
    }

    /// True if nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if a request by `scheme` to `host` and `port` is allowed. Upper and lower case are the same; an IPv6
    /// address may stand in brackets; without a port the scheme's default is meant. A host that is no name and no
    /// address, or holds a `%`-encoding, is allowed only by the host `*`. The host `self` (or `self.alt`) asks for
    /// [`Self::allows_self`].
    pub fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        if is_self(host) {
            return self.allows_self(scheme);
        }
        let Some(port) = port.or_else(|| default_port(scheme)) else {
            // Without any port only an entry that allows every port can fit.
            return self
                .entries
                .iter()
                .any(|entry| entry.port == PortPattern::Any && entry.fits(scheme, &Host::new(host)));
        };
        let host = Host::new(host);
        self.entries.iter().any(|entry| entry.port.allows(port) && entry.fits(scheme, &host))
    }

    /// True if requests to the application itself, by a path without host, are allowed.
    pub fn allows_self(&self, scheme: &str) -> bool {
        let reaches_self = |host: &HostPattern| matches!(host, HostPattern::Any | HostPattern::Itself);
        self.entries.iter().any(|entry| reaches_self(&entry.host) && entry.scheme.allows(scheme))
    }
}

/// Spin's two spellings of the application itself.
pub(crate) fn is_self(host: &str) -> bool {
    host.eq_ignore_ascii_case("self") || host.eq_ignore_ascii_case("self.alt")
}

/// A host as a request names it.
struct Host<'a> {
    text: &'a str,
    address: Option<IpAddr>,
}

impl<'a> Host<'a> {
    fn new(host: &'a str) -> Self {
        let text = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        Self { text, address: text.parse().ok() }
    }
}

impl OutboundHost {
    fn fits(&self, scheme: &str, host: &Host<'_>) -> bool {
        self.scheme.allows(scheme) && self.host.allows(host)
    }
}

impl SchemePattern {
    fn allows(&self, scheme: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => name.eq_ignore_ascii_case(scheme),
        }
    }
}

impl HostPattern {
    fn allows(&self, host: &Host<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Itself => false,
            Self::Name(name) => host.address.is_none() && name.eq_ignore_ascii_case(host.text),
            Self::Subdomains(domain) => host.address.is_none() && is_subdomain(host.text, domain),
            Self::Address(address) => host.address == Some(*address),
            Self::Network { address, prefix_bits } => {
                host.address.is_some_and(|other| in_network(other, *address, *prefix_bits))
            }
        }
    }
}

impl PortPattern {
    fn allows(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == port,
            Self::Range(range) => range.contains(&port),
        }
    }
}

/// True if `name` ends in `.domain` with something before it.
fn is_subdomain(name: &str, domain: &str) -> bool {
    let Some(split) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    let (Some(before), Some(end)) = (name.get(..split), name.get(split..)) else {
        return false;
    };
    before.len() > 1 && before.ends_with('.') && end.eq_ignore_ascii_case(domain)
}

fn in_network(address: IpAddr, network: IpAddr, prefix_bits: u8) -> bool {
    let same_prefix = |difference: u128, width: u32| {
        let ignored = width.saturating_sub(u32::from(prefix_bits));
        difference.checked_shr(ignored).unwrap_or(0) == 0
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same_prefix(u128::from(a.to_bits() ^ b.to_bits()), u32::BITS),
        (IpAddr::V6(a), IpAddr::V6(b)) => same_prefix(a.to_bits() ^ b.to_bits(), u128::BITS),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> OutboundHosts {
        let entries = entries.iter().map(|entry| OutboundHost::parse(entry).unwrap());
        OutboundHosts::new(entries, ["chat", "tools"])
    }

    fn check(entries: &[&str], allowed: &[(&str, &str, u16)], refused: &[(&str, &str, u16)]) {
        let hosts = hosts(entries);
        for (scheme, host, port) in allowed {
            assert!(hosts.allows(scheme, host, Some(*port)), "{scheme}://{host}:{port} by {entries:?}");
        }
        for (scheme, host, port) in refused {
            assert!(!hosts.allows(scheme, host, Some(*port)), "{scheme}://{host}:{port} by {entries:?}");
        }
    }

    #[test]
    fn a_literal_entry_allows_exactly_its_scheme_host_and_port() {
        check(
            &["https://api.example.com"],
            &[("https", "api.example.com", 443), ("HTTPS", "API.Example.COM", 443)],
            &[
                ("http", "api.example.com", 443),
                ("https", "api.example.com", 80),
                ("https", "example.com", 443),
                ("https", "xapi.example.com", 443),
                ("https", "api.example.com.", 443),
                ("https", "api.example.com.evil.net", 443),
                ("https", "", 443),
            ],
        );
        check(
            &["HTTP://Example.com:8080/"],
            &[("http", "example.com", 8080)],
            &[("http", "example.com", 80)],
        );
        check(&["redis://cache"], &[("redis", "cache", 6379)], &[("http", "cache", 6379)]);
        check(&[], &[], &[("http", "example.com", 80)]);
    }

    #[test]
    fn wildcards_open_one_part_each() {
        check(&["*://a.b:80"], &[("http", "a.b", 80), ("tcp", "a.b", 80)], &[("http", "a.b", 81)]);
        check(&["http://*"], &[("http", "x", 80), ("http", "1.2.3.4", 80)], &[("https", "x", 443)]);
        check(&["http://a.b:*"], &[("http", "a.b", 1), ("http", "a.b", 65535)], &[("http", "b", 1)]);
        check(&["*://*:*"], &[("x", "y", 9), ("http", "::1", 80), ("http", "not a host", 80)], &[]);
        check(
            &["http://*.example.com"],
            &[("http", "a.example.com", 80), ("http", "a.b.EXAMPLE.com", 80)],
            &[("http", "example.com", 80), ("http", "myexample.com", 80), ("http", ".example.com", 80)],
        );
    }

    #[test]
    fn a_port_range_excludes_its_end_as_in_spin() {
        check(
            &["http://a:8000..8003"],
            &[("http", "a", 8000), ("http", "a", 8002)],
            &[("http", "a", 8003), ("http", "a", 7999)],
        );
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        check(
            &["http://[2001:DB8::1]:8080"],
            &[("http", "[2001:db8:0::1]", 8080), ("http", "2001:db8::1", 8080)],
            &[("http", "2001:db8::2", 8080)],
        );
        check(&["http://127.0.0.1"], &[("http", "127.0.0.1", 80)], &[("http", "0x7f.1", 80)]);
        check(
            &["*://10.1.0.0/16:80"],
            &[("http", "10.1.255.255", 80)],
            &[("http", "10.2.0.0", 80), ("http", "10.1.evil.net", 80), ("http", "::ffff:10.1.0.1", 80)],
        );
        check(&["*://10.1.2.3/8:80"], &[("http", "10.9.9.9", 80)], &[("http", "11.0.0.0", 80)]);
        check(
            &["*://ff00::/8:80", "*://[fd00::]/8:81"],
            &[("http", "[ff12::1]", 80), ("http", "fd99::1", 81)],
            &[("http", "fe00::1", 80), ("http", "255.0.0.1", 80)],
        );
        check(&["*://0.0.0.0/0:80"], &[("http", "8.8.8.8", 80)], &[("http", "::1", 80)]);
        check(&["*://::/0:80"], &[("http", "::1", 80)], &[("http", "8.8.8.8", 80)]);
        check(&["*://1.2.3.4/32:80"], &[("http", "1.2.3.4", 80)], &[("http", "1.2.3.5", 80)]);
    }

    #[test]
    fn without_a_port_the_schemes_default_is_meant() {
        assert!(hosts(&["https://a"]).allows("https", "a", None));
        assert!(!hosts(&["https://a:8443"]).allows("https", "a", None));
        assert!(!hosts(&["*://a:80"]).allows("amqp", "a", None));
        assert!(hosts(&["*://a:*"]).allows("amqp", "a", None));
    }

    #[test]
    fn the_application_itself_is_allowed_by_self_and_by_any_host() {
        let check = |entry: &str, scheme: &str, expected: bool| {
            assert_eq!(hosts(&[entry]).allows_self(scheme), expected, "{entry}");
            assert_eq!(hosts(&[entry]).allows(scheme, "self", None), expected, "{entry}");
        };
        check("http://self", "http", true);
        check("http://self", "https", false);
        check("*://*:*", "http", true);
        check("http://example.com", "http", false);
        assert!(!hosts(&["http://self"]).allows("http", "example.com", None));
        assert!(hosts(&["http://self.alt"]).allows("http", "self.alt", Some(80)));
    }

    #[test]
    fn service_chaining_reaches_the_components_there_are() {
        check(
            &["http://*.spin.internal"],
            &[("http", "chat.spin.internal", 80), ("http", "TOOLS.spin.internal", 80)],
            &[("http", "other.spin.internal", 80), ("https", "chat.spin.internal", 443)],
        );
        check(
            &["http://chat.spin.internal"],
            &[("http", "chat.spin.internal", 80)],
            &[("http", "tools.spin.internal", 80)],
        );
        assert_eq!(service_chaining_target("chat.Spin.Internal"), Some("chat"));
        assert_eq!(service_chaining_target("a.chat.spin.internal"), None);
        assert_eq!(service_chaining_target(".spin.internal"), None);
        assert_eq!(service_chaining_target("spin.internal"), None);
    }
}
