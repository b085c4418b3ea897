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
