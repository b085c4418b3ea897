//! Whether keys in hand are used, loaded again, or refused: the decision, without any loading.

/// How long keys go on being used while their place does not answer, milliseconds.
pub(super) const STALE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// What a kind of place allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// After a failure, how long until the next attempt, milliseconds.
    pub(super) retry_ms: u64,
    /// How long between two loads that a `kid` unknown so far asks for, milliseconds. None where it asks for none.
    pub(super) kid_refetch_ms: Option<u64>,
    /// Whether keys are loaded again shortly before their time is over, so that no request waits for it.
    pub(super) ahead: bool,
}

/// A key set with an address.
pub(super) const URL: Rules = Rules { retry_ms: 10_000, kid_refetch_ms: Some(30_000), ahead: true };

/// A key set in a file. To look whether it has changed is cheap, and is done every second anyway.
pub(super) const FILE: Rules = Rules { retry_ms: 1_000, kid_refetch_ms: None, ahead: false };

/// What happened so far, each at a time in milliseconds on one clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// When the keys in hand were loaded, or found unchanged.
    pub(super) loaded_at: Option<u64>,
    /// For how long they need no second look.
    pub(super) fresh_ms: u64,
    /// The last failure, if there was no success since.
    pub(super) failed_at: Option<u64>,
    /// The last load because of an unknown `kid`.
    pub(super) kid_refetch_at: Option<u64>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Keys.
    Keys,
    /// Other keys than those in hand, which lack the one that a token names.
    OtherKeys,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Use the keys in hand.
    Use,
    /// Use them, and load them again meanwhile.
    UseAndLoad,
    /// Load first.
    Load,
    /// There is nothing to use, and it is too early to try again.
    Refuse,
}

impl History {
    /// Whether there are keys, not too old to be used when nothing newer can be had.
    pub(super) fn usable(&self, now: u64) -> bool {
        self.loaded_at.is_some_and(|at| now.saturating_sub(at) < STALE_MS_MAX)
    }

    /// Decides at `now`.
    pub(super) fn decide(&self, rules: Rules, need: Need, now: u64) -> Decision {
        let since = |at: Option<u64>| at.map(|at| now.saturating_sub(at));
        let failed_lately = since(self.failed_at).is_some_and(|ms| ms < rules.retry_ms);
        if need == Need::OtherKeys {
            let due = rules
                .kid_refetch_ms
                .is_some_and(|pause| since(self.kid_refetch_at).is_none_or(|ms| ms >= pause));
            return if due && !failed_lately { Decision::Load } else { Decision::Refuse };
        }
        match since(self.loaded_at) {
            Some(age) if age < STALE_MS_MAX => {
                let old = age >= self.fresh_ms;
                let soon_old = rules.ahead && age >= self.fresh_ms / 4 * 3;
                match (old, soon_old, self.failed_at) {
                    (false, false, _) => Decision::Use,
                    _ if failed_lately => Decision::Use,
                    // Its place is failing: nobody waits for it while there are keys.
                    (true, _, None) => Decision::Load,
                    _ => Decision::UseAndLoad,
                }
            }
            _ if failed_lately => Decision::Refuse,
            _ => Decision::Load,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;

    /// Keys loaded at 0 that are fresh for an hour.
    const LOADED: History =
        History { loaded_at: Some(0), fresh_ms: HOUR, failed_at: None, kid_refetch_at: None };

    #[test]
    fn keys_are_used_loaded_or_refused_by_their_age() {
        fn check(history: History, now: u64, url: Decision, file: Decision) {
            assert_eq!(history.decide(URL, Need::Keys, now), url, "url, {history:?} at {now}");
            assert_eq!(history.decide(FILE, Need::Keys, now), file, "file, {history:?} at {now}");
        }
        use Decision::{Load, Refuse, Use, UseAndLoad};
        let nothing = History::default();
        check(nothing, 0, Load, Load);
        check(nothing, 50 * HOUR, Load, Load);
        let failed = |at, history| History { failed_at: Some(at), ..history };
        check(failed(0, nothing), 999, Refuse, Refuse);
        check(failed(0, nothing), 1_000, Refuse, Load);
        check(failed(0, nothing), 9_999, Refuse, Load);
        check(failed(0, nothing), 10_000, Load, Load);

        check(LOADED, 0, Use, Use);
        check(LOADED, HOUR / 4 * 3 - 1, Use, Use);
        check(LOADED, HOUR / 4 * 3, UseAndLoad, Use);
        check(LOADED, HOUR - 1, UseAndLoad, Use);
        check(LOADED, HOUR, Load, Load);
        check(LOADED, 24 * HOUR - 1, Load, Load);
        check(LOADED, 24 * HOUR, Load, Load);

        let ahead = HOUR / 4 * 3;
        check(failed(ahead, LOADED), ahead + 1, Use, Use);
        check(failed(ahead, LOADED), ahead + 10_000, UseAndLoad, Use);
        check(failed(HOUR, LOADED), HOUR + 999, Use, Use);
        check(failed(HOUR, LOADED), HOUR + 1_000, Use, UseAndLoad);
        check(failed(HOUR, LOADED), HOUR + 10_000, UseAndLoad, UseAndLoad);
        check(failed(24 * HOUR - 1, LOADED), 24 * HOUR - 1, Use, Use);
        check(failed(24 * HOUR - 1, LOADED), 24 * HOUR, Refuse, Refuse);
        check(failed(24 * HOUR - 10_000, LOADED), 24 * HOUR, Load, Load);
    }

    #[test]
    fn an_unknown_kid_loads_at_most_every_30_seconds() {
        fn check(history: History, now: u64, url: Decision) {
            assert_eq!(history.decide(URL, Need::OtherKeys, now), url, "{history:?} at {now}");
            assert_eq!(history.decide(FILE, Need::OtherKeys, now), Decision::Refuse, "files never");
        }
        use Decision::{Load, Refuse};
        check(LOADED, 1, Load);
        let asked = History { kid_refetch_at: Some(1_000), ..LOADED };
        check(asked, 1_001, Refuse);
        check(asked, 30_999, Refuse);
        check(asked, 31_000, Load);
        let failed = History { failed_at: Some(31_000), ..asked };
        check(failed, 31_000, Refuse);
        check(failed, 41_000, Load);
    }

    proptest! {
        #[test]
        fn nothing_older_than_a_day_is_used_and_no_refusal_outlasts_the_retry(
            loaded_at in proptest::option::of(0..100 * HOUR),
            fresh_ms in 60_000..24 * HOUR,
            failed_at in proptest::option::of(0..100 * HOUR),
            now in 0..200 * HOUR,
        ) {
            let history = History { loaded_at, fresh_ms, failed_at, kid_refetch_at: None };
            for rules in [URL, FILE] {
                match history.decide(rules, Need::Keys, now) {
                    Decision::Use | Decision::UseAndLoad => prop_assert!(history.usable(now)),
                    Decision::Refuse => {
                        prop_assert!(!history.usable(now));
                        prop_assert!(now.saturating_sub(failed_at.unwrap()) < rules.retry_ms);
                    }
                    Decision::Load => {}
                }
            }
        }
    }
}
