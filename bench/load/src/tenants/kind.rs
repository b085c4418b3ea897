//! The kinds of neighbours that a well-behaved tenant is measured beside.

use std::fmt;
use std::str::FromStr;

use crate::tenants::files::Guest;

/// What the neighbour does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: what the measurement itself differs by.
    Nobody,
    /// Nothing to the server: a process of low priority keeps all cores busy, as the hostile client's own work would.
    BusyMachine,
    /// Asks a hostile guest to do its worst.
    Guest(String),
    /// `GET /hello` without a pause.
    FloodHello,
    /// Turns of chat without a pause.
    FloodTurns,
    /// `GET /hello`, nearly all of it over the tenant's rate.
    FloodRefused,
    /// API keys with a right id and a wrong secret.
    BadKeys,
    /// Tokens of a known issuer with a wrong signature, each another one.
    BadTokens,
    /// Request heads that come a byte at a time and never end.
    UnfinishedRequests,
}

/// The rate of the tenant whose flood is refused, requests per second.
const REFUSED_RATE: u32 = 20;

/// What the issuer of [`Kind::BadTokens`] is called.
pub(crate) const HOSTILE_ISSUER: &str = "https://hostile.example";
/// The audience of all tokens.
pub(crate) const AUDIENCE: &str = "waggle-bench";

/// The guests of the issue, besides the floods.
const GUESTS: [&str; 8] = [
    "endless-loop",
    "loop-at-start",
    "grow-memory",
    "recurse",
    "panic",
    "trap",
    "log-flood",
    "never-answers",
];

impl Kind {
    /// All of them, controls first.
    pub(crate) fn all() -> Vec<Self> {
        let guests = GUESTS.iter().map(|name| Self::Guest((*name).to_owned()));
        let floods = [
            Self::FloodHello,
            Self::FloodTurns,
            Self::FloodRefused,
            Self::BadKeys,
            Self::BadTokens,
            Self::UnfinishedRequests,
        ];
        [Self::Nobody, Self::BusyMachine].into_iter().chain(guests).chain(floods).collect()
    }

    /// Controls have no goal: they show what the machine does.
    pub(crate) fn is_control(&self) -> bool {
        matches!(self, Self::Nobody | Self::BusyMachine)
    }

    /// The guest it needs.
    pub(crate) fn guest(&self) -> Option<Guest> {
        match self {
            Self::Guest(name) => Some(Guest::new(name)),
            _ => None,
        }
    }

    /// Limits of the hostile tenant that belong to the kind.
    pub(crate) fn limits(&self) -> String {
        match self {
            Self::FloodRefused => format!("requests_per_second = {REFUSED_RATE}\nwaiting_requests_max = 0\n"),
            _ => String::new(),
        }
    }

    /// What is printed matters to this kind.
    pub(crate) fn prints(&self) -> bool {
        matches!(self, Self::Guest(name) if name == "log-flood")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::BusyMachine => "busy-machine",
            Self::Guest(name) => name,
            Self::FloodHello => "flood-hello",
            Self::FloodTurns => "flood-turns",
            Self::FloodRefused => "flood-refused",
            Self::BadKeys => "bad-keys",
            Self::BadTokens => "bad-tokens",
            Self::UnfinishedRequests => "unfinished-requests",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    /// A name that is none of the others is that of a guest.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::all().into_iter().find(|kind| kind.to_string() == text);
        if let Some(kind) = named {
            return Ok(kind);
        }
        let is_name = text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_name { Ok(Self::Guest(text.to_owned())) } else { Err(format!("`{text}` is no kind")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in Kind::all() {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("loop-p2".parse(), Ok(Kind::Guest("loop-p2".to_owned())));
        assert!("../x".parse::<Kind>().is_err() && "".parse::<Kind>().is_err());
    }
}
