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
    /// Asks a hostile guest to do its worst: `NAME`, or `NAME/TRICK` where it has several tricks.
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

/// The guests that are measured unless others are asked for.
const GUESTS: [&str; 13] = [
    "endless-loop",
    "loop-at-start",
    "loop-in-bulk-memory/copy",
    "loop-in-host-calls/store",
    "grow-memory",
    "recurse",
    "panic",
    "trap",
    "log-flood",
    "handles-without-end/fields",
    "task-after-response/spin",
    "writes-nothing",
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
            Self::Guest(name) => Some(Guest::new(name.split('/').next().unwrap_or(name))),
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

    /// The path that makes a guest hurt.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Guest(name) if name.contains('/') => format!("/{name}?now"),
            Self::Guest(name) => format!("/{name}/?now"),
            _ => "/hello".to_owned(),
        }
    }

    /// Whether the answer may never end, so that clients give up on it soon.
    pub(crate) fn hangs(&self) -> bool {
        matches!(self, Self::Guest(name) if name.starts_with("never-") || name.starts_with("writes-"))
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
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'/'));
        if is_name { Ok(Self::Guest(text.to_owned())) } else { Err(format!("`{text}` is no kind")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_with_tricks_is_asked_for_one() {
        fn check(kind: &str, guest: &str, path: &str) {
            let kind: Kind = kind.parse().unwrap();
            assert_eq!((kind.guest(), kind.path().as_str()), (Some(Guest::new(guest)), path));
        }
        check("trap", "trap", "/trap/?now");
        check("loop-in-host-calls/store", "loop-in-host-calls", "/loop-in-host-calls/store?now");
    }

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in Kind::all() {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("loop-p2".parse(), Ok(Kind::Guest("loop-p2".to_owned())));
        assert!("../x".parse::<Kind>().is_err() && "".parse::<Kind>().is_err());
    }
}
