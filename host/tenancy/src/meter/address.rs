//! How many requests an address may send in a minute, before anything else is known of them.
//!
//! A table of fixed size holds the counts, so that a flood from many addresses costs no memory. What matters then is who
//! is forgotten for whom. An address that is new to a full set takes the place of the one with the least used up there,
//! *and takes over its count* (as in Metwally et al., "Efficient computation of frequent and top-k elements in data
//! streams", 2005). So being pushed out never resets a count: the least count of a set only falls with time, so whoever
//! comes back finds at least its own. An address is never admitted more than `burst` and the rate times the elapsed time, however
//! many others a sender has, and all addresses together no more than [`ADDRESSES_MAX`] times that.
//!
//! The price is paid when more addresses than there are places use up their burst within the time it takes to come back:
//! then a new address may be refused as if it were one of them. Which addresses share a set depends on a secret drawn at
//! start, so nobody can aim at one set; whoever fills the table needs some [`ADDRESSES_MAX`] prefixes.

use super::bucket::{MINUTE_NS, Rate, Verdict};
use super::{Exceeded, REQUESTS_PER_MINUTE};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses that are counted at once. A place takes 16 bytes: the table has 1 MiB.
pub const ADDRESSES_MAX: usize = SETS * PLACES_PER_SET;

const SETS: usize = 4_096;
const PLACES_PER_SET: usize = 16;

/// The count of requests of each client address.
///
/// An IPv4 address counts by itself, also when it is written as an IPv6 one (`::ffff:0:0/96`, RFC 4291, or
/// `64:ff9b::/96`, RFC 6052). IPv6 addresses count by their /64, which is what one customer has at least.
pub struct AddressMeter(Option<Table>);

struct Table {
    requests_per_minute: u32,
    rate: Rate,
    epoch: Instant,
    secret: RandomState,
    /// Each set behind a lock of its own, which is held for a few dozen instructions.
    sets: Box<[Mutex<Set>]>,
}

type Set = [Place; PLACES_PER_SET];

/// A count. One that is full again is a free place.
#[derive(Clone, Copy, Default)]
struct Place {
    prefix: u64,
    full_at: u64,
}

impl AddressMeter {
    /// Lets each address send `requests_per_minute`, of them `burst` at once; all of them where `burst` is absent.
    /// Without `requests_per_minute` nothing is counted and there is no table.
    #[must_use]
    pub fn new(requests_per_minute: Option<u32>, burst: Option<u32>) -> Self {
        Self(requests_per_minute.map(|requests_per_minute| {
            let burst = burst.unwrap_or(requests_per_minute);
            Table {
                requests_per_minute,
                rate: Rate::of_single_units(requests_per_minute, MINUTE_NS, burst),
                epoch: Instant::now(),
                secret: RandomState::new(),
                sets: (0..SETS).map(|_| Mutex::default()).collect(),
            }
        }))
    }

    /// Counts a request of `address` at `now`; takes a `std::time::Instant` as well.
    ///
    /// # Errors
    /// When the address has used up its requests. Such a request does not count.
    pub fn admit(&self, address: IpAddr, now: impl Into<Instant>) -> Result<(), Exceeded> {
        let Some(table) = &self.0 else { return Ok(()) };
        let prefix = prefix(address);
        let since = now.into().saturating_duration_since(table.epoch);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let index = table.secret.hash_one(prefix) as usize % SETS;
        let Some(set) = table.sets.get(index) else { return Ok(()) };
        let verdict =
            admit_in(&mut set.lock().unwrap_or_else(PoisonError::into_inner), prefix, table.rate, now);
        match verdict {
            Verdict::Admitted => Ok(()),
            Verdict::At(at) => Err(Exceeded {
                limit: REQUESTS_PER_MINUTE,
                allowed: table.requests_per_minute.into(),
                retry_after: Duration::from_nanos(at - now),
            }),
        }
    }
}

/// Counts a request of `prefix` in its set: in its own place, else in that of the least count, which it takes over.
fn admit_in(set: &mut Set, prefix: u64, rate: Rate, now: u64) -> Verdict {
    let own = set.iter().position(|place| place.prefix == prefix);
    let least = || (0..PLACES_PER_SET).min_by_key(|index| set[*index].full_at).unwrap_or_default();
    let place = &mut set[own.unwrap_or_else(least)];
    let (full_at, verdict) = rate.take(place.full_at, now, rate.cost_ns(1));
    if verdict == Verdict::Admitted {
        *place = Place { prefix, full_at };
    }
    verdict
}

/// What an address is counted by. The two kinds of numbers do not meet: no IPv6 network in use begins with 32 zero bits
/// (RFC 4291, section 2.4).
fn prefix(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => u64::from(address.to_bits()),
            None => (address.to_bits() >> 64) as u64,
        },
    }
}

/// The IPv4 address that an IPv6 one stands for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const TRANSLATED: u128 = 0x0064_ff9b << 96;
    let bits = address.to_bits();
    let translated = bits >> 32 == TRANSLATED >> 32;
    address.to_ipv4_mapped().or_else(|| translated.then(|| Ipv4Addr::from_bits(bits as u32)))
}

impl std::fmt::Debug for AddressMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let requests_per_minute = self.0.as_ref().map(|table| table.requests_per_minute);
        f.debug_struct("AddressMeter")
            .field("requests_per_minute", &requests_per_minute)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_count() {
        let meter = AddressMeter::new(Some(60), Some(3));
        let now = Instant::now();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..3 {
            meter.admit(one, now).unwrap();
        }
        let exceeded = meter.admit(one, now).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.allowed), ("requests_per_minute", 60));
        assert!(exceeded.retry_after <= Duration::from_secs(1), "{exceeded:?}");
        meter.admit(other, now).unwrap();
        meter.admit(one, now + Duration::from_secs(1)).unwrap();
        meter.admit(one, now + Duration::from_secs(1)).unwrap_err();
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let meter = AddressMeter::new(None, None);
        assert!((0..10_000).all(|_| meter.admit(address("192.0.2.1"), Instant::now()).is_ok()));
    }

    #[test]
    fn addresses_of_one_customer_count_as_one() {
        let same = |one, other| prefix(address(one)) == prefix(address(other));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(same("192.0.2.1", "64:ff9b::192.0.2.1"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
        assert!(!same("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2"));
        assert!(!same("64:ff9b::192.0.2.1", "64:ff9b:1::192.0.2.1"));
    }

    #[test]
    fn a_sender_with_many_addresses_never_resets_a_count() {
        fn check(order: impl Iterator<Item = u64>) {
            let rate = Rate::of_single_units(60, MINUTE_NS, 5);
            let (mut set, mut admitted) = (Set::default(), HashMap::<u64, u64>::new());
            for prefix in order {
                let verdict = admit_in(&mut set, prefix, rate, 0);
                *admitted.entry(prefix).or_default() += u64::from(verdict == Verdict::Admitted);
            }
            assert!(admitted.values().all(|count| *count <= 5), "{admitted:?}");
            assert!(admitted.values().sum::<u64>() <= 5 * PLACES_PER_SET as u64);
        }
        // Its own by turns with a flood of fresh ones; more than there are places, round and round; each a few times.
        check((1..10_000).flat_map(|fresh| [0, fresh]));
        check((0..10_000).map(|step| step % 40));
        check((0..10_000).map(|step| step / 3 % 40));
    }

    proptest! {
        #[test]
        fn neither_an_address_nor_a_set_gets_more_than_its_bound(
            burst in 1..4_u32,
            steps in proptest::collection::vec((0..40_u64, 0.0..0.2_f64), 1..600),
        ) {
            let rate = Rate::of_single_units(60, MINUTE_NS, burst);
            let (mut set, mut now) = (Set::default(), 0);
            let mut admitted: HashMap<u64, u64> = HashMap::new();
            for (prefix, pause) in steps {
                now += (pause * rate.cost_ns(1) as f64) as u64;
                if admit_in(&mut set, prefix, rate, now) == Verdict::Admitted {
                    *admitted.entry(prefix).or_default() += 1;
                }
            }
            let most = u64::from(burst) + now / rate.cost_ns(1);
            prop_assert!(admitted.values().all(|count| *count <= most));
            prop_assert!(admitted.values().sum::<u64>() <= most * PLACES_PER_SET as u64);
        }
    }
}
