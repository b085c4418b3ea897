//! Which tenants have series of their own. There may be tens of thousands of tenants, and a series for each would be too
//! much for any monitoring; so the few that matter have their name, and the rest is `other`.
//!
//! A name is given once and for good: a tenant that has it keeps it until the process ends, so no counter ever falls, and
//! `other` never loses what it had counted. The price is that what a tenant did before it had its name stays in `other`.
//!
//! Half of the names go to whoever comes first, so that a host with a handful of tenants shows them all at once. The other
//! half has to be earned: by a tenant that has, of the recent requests of all who have no name, at least one in as many as
//! there are names. The weight of requests halves with every 65,536 of them. With ten thousand equal tenants nobody
//! earns one, and with three large ones among them, these do.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The name of all tenants together that have none of their own.
pub const OTHER_TENANTS: &str = "other";

/// The most names there can be, whatever is asked for.
const NAMED_MAX: usize = 1_000;
/// A tenant without a name is looked at each time it has made this many requests.
const COUNT_STEP: u64 = 64;
/// A tenant with fewer recent requests earns no name.
const EARNED_REQUESTS_MIN: u64 = 2 * COUNT_STEP;
/// After this many requests, all that came before weigh half.
const HALF_LIFE_REQUESTS: u64 = 65_536;

/// The series a tenant is counted in: one of its own, or the one of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantSlot(u16);

impl TenantSlot {
    /// The series of all who have no name.
    pub const OTHER: Self = Self(0);
}

/// Who has a name. One for the whole process, so that all metrics have the same.
pub struct TopTenants {
    /// By slot, without [`TenantSlot::OTHER`].
    names: Box<[OnceLock<Arc<str>>]>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that somebody holds, so that all who count for a tenant share one.
    seats: HashMap<Arc<str>, Weak<TenantSeat>>,
    named: usize,
    /// Recent requests of tenants without a name.
    requests: u64,
    /// How often the weights were halved.
    halvings: u64,
}

/// A tenant, as it is counted. Whoever has something for a tenant keeps its seat there.
pub struct TenantSeat {
    tenant: Arc<str>,
    slot: AtomicU16,
    requests: AtomicU64,
    weight: Mutex<Weight>,
    all: Arc<TopTenants>,
}

#[derive(Default)]
struct Weight {
    requests: u64,
    /// Up to which halving it is right.
    halvings: u64,
}

impl TopTenants {
    /// Names for `named_max` tenants, 1 to 1,000; those of `always` have theirs at once, as far as there is room.
    #[must_use]
    pub fn new<'a>(named_max: usize, always: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let names: Box<[_]> = (0..named_max.clamp(1, NAMED_MAX)).map(|_| OnceLock::new()).collect();
        let tenants = Self { names, state: Mutex::default() };
        let mut state = tenants.lock();
        for tenant in always {
            if tenants.slot_of(tenant).is_none() {
                tenants.give(&mut state, &tenant.into());
            }
        }
        drop(state);
        Arc::new(tenants)
    }

    /// The seat of a tenant: the same for all who ask while somebody holds it.
    #[must_use]
    pub fn seat(self: &Arc<Self>, tenant: &str) -> Arc<TenantSeat> {
        let mut state = self.lock();
        if let Some(seat) = state.seats.get(tenant).and_then(Weak::upgrade) {
            return seat;
        }
        if state.seats.len() == state.seats.capacity() {
            // Before the map grows: seats that nobody holds any more need no room.
            state.seats.retain(|_, seat| seat.strong_count() > 0);
        }
        let tenant: Arc<str> = tenant.into();
        let slot = self.slot_of(&tenant).unwrap_or(TenantSlot::OTHER);
        let seat = Arc::new(TenantSeat {
            tenant: Arc::clone(&tenant),
            slot: AtomicU16::new(slot.0),
            requests: AtomicU64::new(0),
            weight: Mutex::default(),
            all: Arc::clone(self),
        });
        state.seats.insert(tenant, Arc::downgrade(&seat));
        seat
    }

    /// The name of a slot: a tenant's id, or [`OTHER_TENANTS`].
    #[must_use]
    pub fn name(&self, slot: TenantSlot) -> &str {
        let own = usize::from(slot.0).checked_sub(1).and_then(|index| self.names.get(index)?.get());
        own.map_or(OTHER_TENANTS, |name| name)
    }

    /// How many series there are at most, that of the others included.
    #[must_use]
    pub fn slots_max(&self) -> usize {
        self.names.len() + 1
    }

    fn slot_of(&self, tenant: &str) -> Option<TenantSlot> {
        let index = self.names.iter().position(|name| name.get().is_some_and(|name| **name == *tenant))?;
        Some(slot_at(index))
    }

    /// Gives a tenant the next name, if one is left.
    fn give(&self, state: &mut State, tenant: &Arc<str>) -> Option<TenantSlot> {
        let index = state.named;
        self.names.get(index)?.set(Arc::clone(tenant)).ok()?;
        state.named += 1;
        Some(slot_at(index))
    }

    /// A tenant without a name has made its first request, or [`COUNT_STEP`] more.
    fn consider(&self, seat: &TenantSeat, requests: u64) {
        let mut state = self.lock();
        if seat.slot.load(Ordering::Relaxed) != TenantSlot::OTHER.0 || state.named >= self.names.len() {
            return;
        }
        state.requests += requests;
        if state.requests >= HALF_LIFE_REQUESTS {
            state.requests /= 2;
            state.halvings += 1;
        }
        let mut weight = seat.weight.lock().unwrap_or_else(PoisonError::into_inner);
        let halvings = state.halvings - weight.halvings;
        let aged = u32::try_from(halvings).ok().and_then(|by| weight.requests.checked_shr(by)).unwrap_or(0);
        *weight = Weight { requests: aged + requests, halvings: state.halvings };
        let first_come = state.named < self.names.len().div_ceil(2);
        let earned = weight.requests >= EARNED_REQUESTS_MIN
            && weight.requests * self.names.len() as u64 >= state.requests;
        if (first_come || earned)
            && let Some(slot) = self.give(&mut state, &seat.tenant)
        {
            // From now on it is not one of those without a name.
            state.requests = state.requests.saturating_sub(weight.requests);
            seat.slot.store(slot.0, Ordering::Relaxed);
        }
    }

    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot_at(index: usize) -> TenantSlot {
    TenantSlot(u16::try_from(index + 1).unwrap_or(TenantSlot::OTHER.0))
}

impl TenantSeat {
    /// Counts a request of the tenant and says in which series it belongs. For a tenant with a name this is one load;
    /// for another an addition, and a short lock once in 64 times.
    pub fn count(&self) -> TenantSlot {
        let slot = self.slot();
        if slot != TenantSlot::OTHER {
            return slot;
        }
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if requests == 1 {
            self.all.consider(self, 1);
        } else if requests.is_multiple_of(COUNT_STEP) {
            self.all.consider(self, COUNT_STEP);
        }
        self.slot()
    }

    /// In which series the tenant is now.
    #[must_use]
    pub fn slot(&self) -> TenantSlot {
        TenantSlot(self.slot.load(Ordering::Relaxed))
    }

    /// Whose seat it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }
}

/// A metric, or a group of them, for each tenant that has a name, and one for the others. Finding one's takes no lock.
pub struct PerTenant<M> {
    tenants: Arc<TopTenants>,
    slots: Box<[OnceLock<M>]>,
    make: Box<dyn Fn() -> M + Send + Sync>,
}

impl<M: Default + 'static> PerTenant<M> {
    /// Metrics for the names of `tenants`.
    #[must_use]
    pub fn new(tenants: &Arc<TopTenants>) -> Self {
        Self::made_by(tenants, M::default)
    }
}

impl<M> PerTenant<M> {
    /// As [`PerTenant::new`], for metrics that `make` makes, each when it is needed first.
    #[must_use]
    pub fn made_by(tenants: &Arc<TopTenants>, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let slots = (0..tenants.slots_max()).map(|_| OnceLock::new()).collect();
        Self { tenants: Arc::clone(tenants), slots, make: Box::new(make) }
    }

    /// The metric of a slot.
    #[must_use]
    pub fn get(&self, slot: TenantSlot) -> &M {
        // A slot is one of `tenants`', of which there are as many; of another's, there may be more.
        let index = usize::from(slot.0);
        let index = if index < self.slots.len() { index } else { 0 };
        self.slots[index].get_or_init(|| (self.make)())
    }

    /// Whoever has been counted, by name, with its metric.
    pub fn each(&self) -> impl Iterator<Item = (&str, &M)> {
        self.slots.iter().enumerate().filter_map(|(index, metric)| {
            let slot = TenantSlot(u16::try_from(index).ok()?);
            Some((self.tenants.name(slot), metric.get()?))
        })
    }
}

impl fmt::Debug for TopTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopTenants").field("named_max", &self.names.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSeat").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for PerTenant<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerTenant").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    fn count(seat: &TenantSeat, requests: usize) {
        (0..requests).for_each(|_| {
            seat.count();
        });
    }

    fn name(tenants: &TopTenants, seat: &TenantSeat) -> String {
        tenants.name(seat.slot()).to_owned()
    }

    #[test]
    fn a_handful_of_tenants_have_their_names_at_once() {
        let tenants = TopTenants::new(20, []);
        for tenant in ["bank", "shop", "library"] {
            let seat = tenants.seat(tenant);
            assert_eq!(name(&tenants, &seat), OTHER_TENANTS, "nobody has a name for existing only");
            assert_eq!(tenants.name(seat.count()), tenant, "the first request counts under it");
        }
    }

    #[test]
    fn configured_tenants_have_their_names_and_no_others_room() {
        let tenants = TopTenants::new(2, ["bank", "shop", "bank", "third"]);
        assert_eq!(name(&tenants, &tenants.seat("bank")), "bank");
        assert_eq!(name(&tenants, &tenants.seat("shop")), "shop");
        let third = tenants.seat("third");
        count(&third, 1_000);
        assert_eq!(name(&tenants, &third), OTHER_TENANTS);
    }

    #[test]
    fn large_tenants_among_many_earn_a_name_and_small_ones_do_not() {
        let tenants = TopTenants::new(4, []);
        let small: Vec<_> = (0..500).map(|number| tenants.seat(&format!("small-{number}"))).collect();
        small.iter().for_each(|seat| count(seat, 1));
        let large = tenants.seat("large");
        for _ in 0..200 {
            small.iter().for_each(|seat| count(seat, 1));
            count(&large, 300);
        }
        assert_eq!(name(&tenants, &large), "large");
        let named = small.iter().filter(|seat| seat.slot() != TenantSlot::OTHER).count();
        assert_eq!(named, 2, "those that came first, half of the names");
    }

    #[test]
    fn who_becomes_large_late_earns_a_name_as_well() {
        let tenants = TopTenants::new(4, ["a", "b"]);
        let crowd: Vec<_> = (0..100).map(|number| tenants.seat(&format!("crowd-{number}"))).collect();
        (0..10_000).for_each(|_| crowd.iter().for_each(|seat| count(seat, 1)));
        // A million requests of others came before; of the recent ones, these are the most.
        let late = tenants.seat("late");
        count(&late, 60_000);
        assert_eq!(name(&tenants, &late), "late");
        assert!(crowd.iter().all(|seat| seat.slot() == TenantSlot::OTHER));
    }

    #[test]
    fn a_name_is_kept_when_the_seat_is_taken_anew() {
        let tenants = TopTenants::new(4, []);
        count(&tenants.seat("bank"), 1);
        assert_eq!(name(&tenants, &tenants.seat("bank")), "bank");
        let (first, second) = (tenants.seat("shop"), tenants.seat("shop"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn seats_that_nobody_holds_need_no_room() {
        let tenants = TopTenants::new(1, []);
        (0..10_000).for_each(|number| drop(tenants.seat(&number.to_string())));
        assert!(tenants.lock().seats.len() < 100);
    }

    #[test]
    fn counters_per_tenant_never_fall_and_lose_nothing() {
        let tenants = TopTenants::new(2, []);
        let counters: PerTenant<Counter> = PerTenant::new(&tenants);
        let seats: Vec<_> = ["a", "b", "c"].into_iter().map(|tenant| tenants.seat(tenant)).collect();
        let mut last: HashMap<String, u64> = HashMap::new();
        for _ in 0..500 {
            seats.iter().for_each(|seat| counters.get(seat.count()).increment());
            for (name, counter) in counters.each() {
                let before = last.insert(name.to_owned(), counter.get()).unwrap_or(0);
                assert!(counter.get() >= before, "{name}");
            }
        }
        assert_eq!(last.values().sum::<u64>(), 1_500);
        assert_eq!(last.len(), 3, "{last:?}");
    }

    #[test]
    fn many_threads_count_one_tenant_under_one_name() {
        let tenants = TopTenants::new(4, []);
        let counters: PerTenant<Counter> = PerTenant::new(&tenants);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let seat = tenants.seat("bank");
                let counters = &counters;
                scope.spawn(move || (0..1_000).for_each(|_| counters.get(seat.count()).increment()));
            }
        });
        assert_eq!(counters.each().map(|(_, counter)| counter.get()).sum::<u64>(), 4_000);
        assert!(counters.each().filter(|(name, _)| *name != OTHER_TENANTS).count() <= 1);
    }
}
