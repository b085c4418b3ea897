//! The allow-list of spin.toml, as the engine asks for it.

use std::net::SocketAddr;
use waggle_engine::{OutboundDecision, OutboundPolicy};
use waggle_manifest::{HostPattern, OutboundHosts};

/// `allowed_outbound_hosts` of one component with its variables filled in.
pub(crate) struct AllowList {
    /// All entries.
    all: OutboundHosts,
    /// The entries that name one host or network literally: only they may lead to private addresses.
    literal: OutboundHosts,
}

impl AllowList {
    pub(crate) fn new(all: OutboundHosts) -> Self {
        let literal = all.entries().iter().filter(|entry| {
            matches!(entry.host, HostPattern::Name(_) | HostPattern::Address(_) | HostPattern::Network { .. })
        });
        let literal = OutboundHosts::new(literal.cloned(), []);
        Self { all, literal }
    }
}

impl OutboundPolicy for AllowList {
    fn decide(&self, scheme: &str, host: &str, port: u16) -> OutboundDecision {
        if self.literal.allows(scheme, host, Some(port)) {
            OutboundDecision::Private
        } else if self.all.allows(scheme, host, Some(port)) {
            OutboundDecision::Public
        } else {
            OutboundDecision::Denied
        }
    }

    fn allows_internal(&self, host: &str) -> bool {
        self.all.allows("http", host, None)
    }

    fn allows_socket(&self, address: SocketAddr) -> bool {
        // A socket has no name to check, so only addresses written as such count.
        self.literal.allows("tcp", &address.ip().to_string(), Some(address.port()))
    }
}

/// A function's list narrowed by its tenant's: what is called must be on both. Private addresses are the function's
/// business: the tenant's list only takes away.
pub(crate) struct NarrowedList {
    function: AllowList,
    tenant: OutboundHosts,
}

impl NarrowedList {
    pub(crate) fn new(function: AllowList, tenant: OutboundHosts) -> Self {
        Self { function, tenant }
    }
}

impl OutboundPolicy for NarrowedList {
    fn decide(&self, scheme: &str, host: &str, port: u16) -> OutboundDecision {
        if self.tenant.allows(scheme, host, Some(port)) {
            self.function.decide(scheme, host, port)
        } else {
            OutboundDecision::Denied
        }
    }

    /// Calls between functions never leave the tenant, so its list of what is outside says nothing of them.
    fn allows_internal(&self, host: &str) -> bool {
        self.function.allows_internal(host)
    }

    fn allows_socket(&self, address: SocketAddr) -> bool {
        self.tenant.allows("tcp", &address.ip().to_string(), Some(address.port()))
            && self.function.allows_socket(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_manifest::OutboundHost;

    fn list(entries: &[&str]) -> AllowList {
        let entries: Vec<OutboundHost> =
            entries.iter().map(|entry| OutboundHost::parse(entry).unwrap()).collect();
        AllowList::new(OutboundHosts::new(entries, ["chat", "tools"]))
    }

    #[test]
    fn only_literal_names_may_lead_to_private_addresses() {
        let list = list(&["http://127.0.0.1:8089", "https://*.example.com", "http://model.local"]);
        let check = |scheme: &str, host: &str, port: u16, expected: OutboundDecision| {
            assert_eq!(list.decide(scheme, host, port), expected, "{scheme}://{host}:{port}");
        };
        check("http", "127.0.0.1", 8089, OutboundDecision::Private);
        check("http", "127.0.0.1", 8090, OutboundDecision::Denied);
        check("http", "model.local", 80, OutboundDecision::Private);
        check("https", "api.example.com", 443, OutboundDecision::Public);
        check("http", "api.example.com", 80, OutboundDecision::Denied);
        check("http", "169.254.169.254", 80, OutboundDecision::Denied);
    }

    #[test]
    fn a_tenants_list_takes_away_and_never_adds() {
        let function =
            list(&["http://127.0.0.1:8089", "https://*.example.com", "http://tools.spin.internal"]);
        let tenant = ["https://api.example.com", "http://127.0.0.1:*", "https://elsewhere.org"];
        let entries = tenant.iter().map(|text| OutboundHost::parse(text).unwrap());
        let narrowed = NarrowedList::new(function, OutboundHosts::new(entries, []));
        let check = |scheme: &str, host: &str, port: u16, expected: OutboundDecision| {
            assert_eq!(narrowed.decide(scheme, host, port), expected, "{scheme}://{host}:{port}");
        };
        check("https", "api.example.com", 443, OutboundDecision::Public);
        check("https", "other.example.com", 443, OutboundDecision::Denied);
        check("https", "elsewhere.org", 443, OutboundDecision::Denied);
        check("http", "127.0.0.1", 8089, OutboundDecision::Private);
        check("http", "127.0.0.1", 8090, OutboundDecision::Denied);
        assert!(narrowed.allows_internal("tools.spin.internal"));
    }

    #[test]
    fn functions_are_called_only_where_the_list_names_them() {
        let list = list(&["http://tools.spin.internal"]);
        assert!(list.allows_internal("tools.spin.internal"));
        assert!(!list.allows_internal("chat.spin.internal"));
        assert!(!list.allows_internal("self"));
    }

    #[test]
    fn sockets_are_closed_unless_the_address_is_named() {
        let address = "10.0.0.5:5432".parse().unwrap();
        assert!(!list(&["*://*:*"]).allows_socket(address));
        assert!(list(&["*://10.0.0.5:5432"]).allows_socket(address));
    }
}
