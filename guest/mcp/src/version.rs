//! Revisions of the protocol, and the names that they give to what every message carries.

use std::fmt;

/// A revision of the specification, by its date.
///
/// The first three are opened by an `initialize` handshake; the last is stateless: each request says for itself what it
/// speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 2025-03-26: spoken to servers that know no later one, never to clients.
    March2025,
    /// 2025-06-18.
    June2025,
    /// 2025-11-25.
    November2025,
    /// 2026-07-28.
    July2026,
}

impl Version {
    /// The newest there is.
    pub const LATEST: Self = Self::July2026;
    /// The newest of those with a handshake.
    pub const LATEST_WITH_HANDSHAKE: Self = Self::November2025;
    /// What clients are served, newest first.
    pub const SERVED: [Self; 3] = [Self::July2026, Self::November2025, Self::June2025];

    /// How the protocol writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::March2025 => "2025-03-26",
            Self::June2025 => "2025-06-18",
            Self::November2025 => "2025-11-25",
            Self::July2026 => "2026-07-28",
        }
    }

    /// The revision of this name, if it is known here.
    pub fn of(name: &str) -> Option<Self> {
        let known = [Self::July2026, Self::November2025, Self::June2025, Self::March2025];
        known.into_iter().find(|version| version.name() == name)
    }

    /// Whether each request says for itself what it speaks, without a handshake.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::July2026)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which revision a message is in, as a header field.
pub(crate) const VERSION_FIELD: &str = "mcp-protocol-version";
/// The method of a request, as a header field, from 2026-07-28 on.
pub(crate) const METHOD_FIELD: &str = "mcp-method";
/// What a request is about, as a header field, from 2026-07-28 on.
pub(crate) const NAME_FIELD: &str = "mcp-name";
/// The session, as a header field, before 2026-07-28.
pub(crate) const SESSION_FIELD: &str = "mcp-session-id";

/// Which revision a request is in, in its `_meta`.
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do, in a request's `_meta`.
pub(crate) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is, in a request's `_meta`.
pub(crate) const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
/// Who the server is, in a result's `_meta`.
pub(crate) const SERVER_KEY: &str = "io.modelcontextprotocol/serverInfo";
/// Which `subscriptions/listen` a message belongs to, in its `_meta`.
pub(crate) const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";

/// Which parameter of a request the field `Mcp-Name` repeats.
pub(crate) fn named_by(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_found_by_its_name() {
        for version in Version::SERVED.into_iter().chain([Version::March2025]) {
            assert_eq!(Version::of(version.name()), Some(version));
        }
        assert_eq!(Version::of("1900-01-01"), None);
        assert_eq!(Version::of(""), None);
    }
}
