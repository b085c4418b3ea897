//! The same call again and again: a model that does not learn from what it is told is stopped.

use crate::arguments::normalised;
use sha2::{Digest as _, Sha256};

/// How often the same call may be made in a row.
pub const SAME_CALLS_MAX: u32 = 2;

/// What a model is told of a call that was not made again.
pub const TOLD: &str = "This call was not made: it is the same as the last ones, with the same arguments, and would give the \
    same. Use what you know already, or do something else.";

/// What is done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is made.
    Make,
    /// It is not made, and the model is told so.
    Refuse,
    /// The same, and the next step is the last.
    Stop,
}

/// How often the last call was made in a row.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    last: Option<[u8; 32]>,
    count: u32,
}

impl Repeats {
    /// Notes a call, by what the model calls it by, in the order in which the model asked, also those of one step; says
    /// what to do with it. A run that goes on notes its recorded calls first.
    pub fn note(&mut self, name: &str, arguments: &str) -> Repeat {
        let mut hash = Sha256::new();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(normalised(arguments).as_bytes());
        let call = hash.finalize().into();
        if self.last != Some(call) {
            (self.last, self.count) = (Some(call), 0);
        }
        self.count = self.count.saturating_add(1);
        match self.count {
            count if count <= SAME_CALLS_MAX => Repeat::Make,
            count if count == SAME_CALLS_MAX + 1 => Repeat::Refuse,
            _ => Repeat::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(calls: &[(&str, &str)], expected: &[Repeat]) {
        let mut repeats = Repeats::default();
        let noted: Vec<Repeat> =
            calls.iter().map(|(name, arguments)| repeats.note(name, arguments)).collect();
        assert_eq!(noted, expected, "{calls:?}");
    }

    #[test]
    fn the_third_of_the_same_is_not_made_and_the_fourth_ends_the_run() {
        use Repeat::{Make, Refuse, Stop};
        let (a, same, other) = (("f", r#"{"a":1,"b":2}"#), ("f", r#" {"b": 2, "a": 1}"#), ("f", "{}"));
        check(&[a, same, a, same, a], &[Make, Make, Refuse, Stop, Stop]);
        check(&[a, a, other, a, a], &[Make; 5]);
        check(&[a, a, a, other, a, a, a], &[Make, Make, Refuse, Make, Make, Make, Refuse]);
        check(&[a, ("g", a.1), a, ("g", a.1)], &[Make; 4]);
        check(&[("fx", ""), ("f", "x"), ("fx", ""), ("f", "x")], &[Make; 4]);
    }
}
