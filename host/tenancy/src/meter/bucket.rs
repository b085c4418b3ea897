//! A rate with a burst, counted in one atomic number: the generic cell rate algorithm (ITU-T I.371, annex A), by which
//! a bucket that fills at a steady rate needs no more than the time at which it will be full again.
//!
//! The arithmetic is pure: functions of (state, now, cost). Times are nanoseconds since the meter was made, so that a
//! `u64` lasts for 584 years.

use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const SECOND_NS: u64 = 1_000_000_000;
pub(super) const MINUTE_NS: u64 = 60 * SECOND_NS;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Units that come back in `period_ns`; at least 1.
    quantity: u64,
    period_ns: u64,
    /// The time in which an empty bucket fills up.
    full_ns: u64,
    /// What a full bucket holds.
    pub(super) burst: u64,
}

/// What is said to a request for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    /// Not now. The same request fits at this time, unless others come before it.
    At(u64),
}

impl Rate {
    /// `quantity` single units in `period_ns`, `burst` of them at once.
    ///
    /// The time of one is rounded up to whole nanoseconds, so that the rate is never exceeded; at 1,000,000 a second it
    /// is at most 0.1% lower.
    pub(super) fn of_single_units(quantity: u32, period_ns: u64, burst: u32) -> Self {
        let unit_ns = period_ns.div_ceil(u64::from(quantity.max(1)));
        let burst = u64::from(burst.max(1));
        Self { quantity: 1, period_ns: unit_ns, full_ns: unit_ns.saturating_mul(burst), burst }
    }

    /// `quantity` units in `period_ns`, taken in large amounts: one unit may come back in less than a nanosecond. All
    /// of a period's may be taken at once.
    pub(super) fn of_many_units(quantity: u64, period_ns: u64) -> Self {
        let quantity = quantity.max(1);
        Self { quantity, period_ns, full_ns: period_ns, burst: quantity }
    }

    /// The time in which `units` come back.
    pub(super) fn cost_ns(self, units: u64) -> u64 {
        if self.quantity == 1 {
            return units.saturating_mul(self.period_ns);
        }
        let cost = (u128::from(units) * u128::from(self.period_ns)).div_ceil(u128::from(self.quantity));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// Takes `cost_ns` out of a bucket that will be full at `full_at`, if it holds as much at `now`.
    pub(super) fn take(self, full_at: u64, now: u64, cost_ns: u64) -> (u64, Verdict) {
        let after = full_at.max(now).saturating_add(cost_ns);
        let fits_at = after.saturating_sub(self.full_ns);
        if fits_at <= now { (after, Verdict::Admitted) } else { (full_at, Verdict::At(fits_at)) }
    }

    /// Takes `cost_ns` whether it is there or not. The debt is at most `debt_ns_max`.
    fn charge(self, full_at: u64, now: u64, cost_ns: u64, debt_ns_max: u64) -> u64 {
        let most = now.saturating_add(self.full_ns).saturating_add(debt_ns_max);
        full_at.max(now).saturating_add(cost_ns).min(most.max(full_at))
    }

    /// The whole units that are there at `now`.
    pub(super) fn remaining(self, full_at: u64, now: u64) -> u64 {
        let there_ns = self.full_ns.saturating_sub(full_at.saturating_sub(now));
        let units = u128::from(there_ns) * u128::from(self.quantity) / u128::from(self.period_ns.max(1));
        u64::try_from(units).unwrap_or(u64::MAX).min(self.burst)
    }

    /// The state by which as many units are gone at this rate as were at `old`, within the greatest debt. Without an
    /// old rate nothing was counted; then no more than a full bucket is gone.
    fn rescale(self, old: Option<Self>, full_at: u64, now: u64, debt_ns_max: u64) -> u64 {
        let gone_ns = full_at.saturating_sub(now);
        let gone_ns = match old {
            None => gone_ns.min(self.full_ns),
            Some(old) => {
                let gone = u128::from(gone_ns) * u128::from(old.quantity) / u128::from(old.period_ns.max(1));
                self.cost_ns(u64::try_from(gone).unwrap_or(u64::MAX))
            }
        };
        now.saturating_add(gone_ns.min(self.full_ns.saturating_add(debt_ns_max)))
    }
}

/// What is left of a rate. The rate itself is given with each call, so that it can change at any time.
///
/// One number is all there is to it and nothing else is published by it, so its operations are `Relaxed`.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full again; not after now: it is full.
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes one unit.
    pub(super) fn take_one(&self, rate: Rate, now: u64) -> Verdict {
        let cost_ns = rate.cost_ns(1);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let (after, verdict) = rate.take(full_at, now, cost_ns);
            if verdict != Verdict::Admitted {
                return verdict;
            }
            match self.full_at.compare_exchange_weak(full_at, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Verdict::Admitted,
                Err(found) => full_at = found,
            }
        }
    }

    /// What [`Self::take_one`] would say if `ahead` others took one each before. Takes nothing.
    pub(super) fn look(&self, rate: Rate, now: u64, ahead: u64) -> Verdict {
        let cost_ns = rate.cost_ns(ahead.saturating_add(1));
        rate.take(self.full_at.load(Ordering::Relaxed), now, cost_ns).1
    }

    pub(super) fn charge(&self, rate: Rate, now: u64, cost_ns: u64, debt_ns_max: u64) {
        self.update(|full_at| rate.charge(full_at, now, cost_ns, debt_ns_max));
    }

    pub(super) fn rescale(&self, old: Option<Rate>, new: Rate, now: u64, debt_ns_max: u64) {
        self.update(|full_at| new.rescale(old, full_at, now, debt_ns_max));
    }

    /// The state, for [`Rate::take`] and [`Rate::remaining`].
    pub(super) fn full_at(&self) -> u64 {
        self.full_at.load(Ordering::Relaxed)
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        while let Err(found) =
            self.full_at.compare_exchange_weak(full_at, change(full_at), Ordering::Relaxed, Ordering::Relaxed)
        {
            full_at = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bucket as one would write it down: units as a fraction, filled up by time. In units of 1/`unit_ns`.
    struct Model {
        held: u128,
        most: u128,
        at: u64,
    }

    impl Model {
        fn take(&mut self, now: u64, unit_ns: u64, units: u64) -> bool {
            self.held = (self.held + u128::from(now - self.at)).min(self.most);
            self.at = now;
            let cost = u128::from(unit_ns) * u128::from(units);
            let fits = cost <= self.held;
            self.held -= if fits { cost } else { 0 };
            fits
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1..=1_000_000_u32, prop_oneof![Just(SECOND_NS), Just(MINUTE_NS)], 1..=50_u32)
            .prop_map(|(quantity, period_ns, burst)| Rate::of_single_units(quantity, period_ns, burst))
    }

    proptest! {
        #[test]
        fn it_decides_as_a_bucket_that_fills_does(
            rate in rates(),
            steps in proptest::collection::vec((0.0..3.0_f64, 1..5_u64), 1..200),
        ) {
            let unit_ns = rate.cost_ns(1);
            let most = u128::from(rate.full_ns);
            let mut model = Model { held: most, most, at: 0 };
            let (mut full_at, mut now) = (0, 0);
            for (pause, units) in steps {
                now += (pause * unit_ns as f64) as u64;
                let (after, verdict) = rate.take(full_at, now, rate.cost_ns(units));
                full_at = after;
                prop_assert_eq!(verdict == Verdict::Admitted, model.take(now, unit_ns, units));
                prop_assert_eq!(rate.remaining(full_at, now), (model.held / u128::from(unit_ns)) as u64);
            }
        }

        #[test]
        fn no_window_admits_more_than_the_burst_and_the_rate_times_its_length(
            quantity in 1..=1_000_000_u32,
            burst in 1..=50_u32,
            pauses in proptest::collection::vec(0.0..2.5_f64, 1..200),
        ) {
            let rate = Rate::of_single_units(quantity, SECOND_NS, burst);
            let (mut full_at, mut now) = (0, 0);
            let mut admitted = Vec::new();
            for pause in pauses {
                now += (pause * rate.cost_ns(1) as f64) as u64;
                let (after, verdict) = rate.take(full_at, now, rate.cost_ns(1));
                full_at = after;
                if verdict == Verdict::Admitted {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let most = u128::from(burst)
                        + u128::from(to - from) * u128::from(quantity) / u128::from(SECOND_NS);
                    prop_assert!((last - first + 1) as u128 <= most);
                }
            }
        }

        #[test]
        fn who_comes_at_the_time_it_was_told_is_admitted(
            rate in rates(),
            full_at in 0..100 * SECOND_NS,
            now in 0..100 * SECOND_NS,
        ) {
            let cost_ns = rate.cost_ns(1);
            if let (state, Verdict::At(at)) = rate.take(full_at, now, cost_ns) {
                prop_assert_eq!(state, full_at, "a refusal costs nothing");
                prop_assert!(at > now);
                prop_assert_ne!(rate.take(state, at - 1, cost_ns).1, Verdict::Admitted);
                prop_assert_eq!(rate.take(state, at, cost_ns).1, Verdict::Admitted);
            }
        }

        #[test]
        fn a_charge_never_leads_to_more_than_the_greatest_debt(
            tokens in 1..=1_000_000_000_000_u64,
            charges in proptest::collection::vec((0..=u64::MAX, 0..MINUTE_NS), 1..20),
        ) {
            let rate = Rate::of_many_units(tokens, MINUTE_NS);
            let (mut full_at, mut now) = (0, 0);
            for (units, pause) in charges {
                now += pause;
                full_at = rate.charge(full_at, now, rate.cost_ns(units), 10 * MINUTE_NS);
                prop_assert!(full_at <= now + 11 * MINUTE_NS);
            }
        }

        #[test]
        fn a_new_rate_keeps_what_is_gone(old in rates(), new in rates(), gone in 0..50_u64, now in 0..SECOND_NS) {
            let gone = gone.min(old.burst);
            let full_at = new.rescale(Some(old), now + old.cost_ns(gone), now, 0);
            prop_assert!(full_at <= now + new.full_ns);
            prop_assert_eq!(new.remaining(full_at, now), new.burst.saturating_sub(gone));
        }
    }

    #[test]
    fn many_units_come_back_in_the_period() {
        let rate = Rate::of_many_units(1_000_000_000_000, MINUTE_NS);
        let full_at = rate.charge(0, 0, rate.cost_ns(500_000_000_000), 0);
        assert_eq!(full_at, MINUTE_NS / 2);
        assert_eq!(rate.remaining(full_at, 0), 500_000_000_000);
        assert_eq!(rate.remaining(full_at, MINUTE_NS), 1_000_000_000_000);
    }

    #[test]
    fn threads_together_take_no_more_than_the_bucket_holds() {
        let (bucket, rate) = (Bucket::default(), Rate::of_single_units(1, SECOND_NS, 1_000));
        let taken = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if bucket.take_one(rate, 0) == Verdict::Admitted {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1_000);
    }
}
