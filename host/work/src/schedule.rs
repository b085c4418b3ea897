//! Whose work comes next: in order of arrival within a tenant, in turn between tenants, within bounds. Pure: it holds
//! ids, and time is passed in.

use crate::store::Pending;
use crate::work::WorkId;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What is to be delivered next.
pub(crate) type Next = (Arc<str>, WorkId);

/// How much of it at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) concurrent_per_tenant: usize,
    pub(crate) concurrent_max: usize,
    pub(crate) pending_max: usize,
}

/// All work this host has in mind.
#[derive(Debug)]
pub(crate) struct Schedule {
    bounds: Bounds,
    lines: HashMap<Arc<str>, Line>,
    /// Tenants that have something ready and room for it, each once.
    ring: VecDeque<Arc<str>>,
    /// Tenants known not to be served for now. Their work is in the store alone, so that it takes no room of others'. No
    /// more than there are tenants.
    suspended: HashSet<Arc<str>>,
    /// What waits for its time, milliseconds since 1970.
    later: BTreeSet<(u64, Arc<str>, WorkId)>,
    /// Deliveries under way.
    running: usize,
    /// Work that is in mind, running work included.
    pending: usize,
}

/// One tenant's work.
#[derive(Debug, Default)]
struct Line {
    /// All of it, by when it arrived.
    arrived_ms: HashMap<WorkId, u64>,
    ready: VecDeque<WorkId>,
    /// Under way; also what is no longer known of otherwise.
    running: HashSet<WorkId>,
    is_in_ring: bool,
}

impl Schedule {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: HashMap::new(),
            ring: VecDeque::new(),
            suspended: HashSet::new(),
            later: BTreeSet::new(),
            running: 0,
            pending: 0,
        }
    }

    /// Takes note of work that is not in mind yet. False if it was, if there is no room for it, or if its tenant is not
    /// served.
    pub(crate) fn add(&mut self, tenant: &str, pending: Pending) -> bool {
        if self.is_full() || self.suspended.contains(tenant) {
            return false;
        }
        let tenant = self.name(tenant);
        let line = self.lines.entry(Arc::clone(&tenant)).or_default();
        if line.arrived_ms.contains_key(&pending.id) || line.running.contains(&pending.id) {
            return false;
        }
        line.arrived_ms.insert(pending.id.clone(), pending.arrived_ms);
        line.ready.push_back(pending.id);
        self.pending += 1;
        self.enlist(&tenant);
        true
    }

    /// The next delivery, which is under way from now on.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<Next> {
        self.ripen(now_ms);
        if self.running >= self.bounds.concurrent_max {
            return None;
        }
        while let Some(tenant) = self.ring.pop_front() {
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            line.is_in_ring = false;
            let has_room = line.running.len() < self.bounds.concurrent_per_tenant;
            let Some(id) = has_room.then(|| line.ready.pop_front()).flatten() else { continue };
            line.running.insert(id.clone());
            self.running += 1;
            self.enlist(&tenant);
            return Some((tenant, id));
        }
        None
    }

    /// A delivery has ended, and with it the work.
    pub(crate) fn done(&mut self, ended: &Next) {
        self.ended(ended);
        let (tenant, id) = ended;
        if let Some(line) = self.lines.get_mut(tenant)
            && line.arrived_ms.remove(id).is_some()
        {
            self.pending -= 1;
        }
        self.tidy(tenant);
    }

    /// A delivery has ended; the work is to be delivered again, not before `due_ms`.
    pub(crate) fn again(&mut self, ended: &Next, due_ms: u64) {
        self.ended(ended);
        let (tenant, id) = ended;
        if self.lines.get(tenant).is_some_and(|line| line.arrived_ms.contains_key(id)) {
            self.later.insert((due_ms, Arc::clone(tenant), id.clone()));
        }
        self.tidy(tenant);
    }

    /// The tenant is not served for now: its work waits in the store, and is forgotten here.
    pub(crate) fn suspend(&mut self, tenant: &str) {
        self.forget(tenant);
        self.suspended.insert(self.name(tenant));
    }

    /// The tenant may be served again. True if it was suspended: then its work is to be looked for.
    pub(crate) fn resume(&mut self, tenant: &str) -> bool {
        self.suspended.remove(tenant)
    }

    /// The tenant is gone. What is under way still ends.
    pub(crate) fn forget(&mut self, tenant: &str) {
        self.suspended.remove(tenant);
        let Some((tenant, _line)) = self.lines.get_key_value(tenant) else { return };
        let tenant = Arc::clone(tenant);
        self.later.retain(|(_due, of, _id)| *of != tenant);
        if let Some(line) = self.lines.get_mut(&tenant) {
            self.pending -= line.arrived_ms.len();
            line.arrived_ms.clear();
            line.ready.clear();
        }
        self.tidy(&tenant);
    }

    /// When something's time comes, milliseconds since 1970.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.later.first().map(|(due, ..)| *due)
    }

    /// Whether there is room for no more work.
    pub(crate) fn is_full(&self) -> bool {
        self.pending >= self.bounds.pending_max
    }

    /// Work that is in mind, running work included.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// When the oldest of it arrived. It looks at all of it.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.lines.values().flat_map(|line| line.arrived_ms.values()).min().copied()
    }

    /// One allocation for a tenant's name.
    fn name(&self, tenant: &str) -> Arc<str> {
        self.lines.get_key_value(tenant).map_or_else(|| tenant.into(), |(name, _line)| Arc::clone(name))
    }

    /// What has waited long enough is ready.
    fn ripen(&mut self, now_ms: u64) {
        while self.later.first().is_some_and(|(due, ..)| *due <= now_ms) {
            let Some((_due, tenant, id)) = self.later.pop_first() else { return };
            if let Some(line) = self.lines.get_mut(&tenant) {
                line.ready.push_back(id);
                self.enlist(&tenant);
            }
        }
    }

    fn ended(&mut self, (tenant, id): &Next) {
        self.running -= 1;
        if let Some(line) = self.lines.get_mut(tenant) {
            line.running.remove(id);
        }
    }

    /// The tenant waits for its turn, if it has something ready and room for it.
    fn enlist(&mut self, tenant: &Arc<str>) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let may = !line.is_in_ring && !line.ready.is_empty();
        if may && line.running.len() < self.bounds.concurrent_per_tenant {
            line.is_in_ring = true;
            self.ring.push_back(Arc::clone(tenant));
        }
    }

    /// After a delivery: a turn for the tenant, or an end to its line.
    fn tidy(&mut self, tenant: &Arc<str>) {
        let is_over = |line: &Line| line.arrived_ms.is_empty() && line.running.is_empty();
        if self.lines.get(tenant).is_some_and(is_over) {
            self.lines.remove(tenant);
        } else {
            self.enlist(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(concurrent_per_tenant: usize, concurrent_max: usize) -> Schedule {
        Schedule::new(Bounds { concurrent_per_tenant, concurrent_max, pending_max: 100 })
    }

    fn add(schedule: &mut Schedule, tenant: &str, count: usize) -> Vec<WorkId> {
        let ids: Vec<WorkId> = (0..count).map(|_| WorkId::random()).collect();
        for (number, id) in ids.iter().enumerate() {
            assert!(schedule.add(tenant, Pending { id: id.clone(), arrived_ms: number as u64 }));
        }
        ids
    }

    fn all(schedule: &mut Schedule, now_ms: u64) -> Vec<Next> {
        std::iter::from_fn(|| schedule.next(now_ms)).collect()
    }

    fn tenants(of: &[Next]) -> Vec<&str> {
        of.iter().map(|(tenant, _id)| &**tenant).collect()
    }

    #[test]
    fn a_tenants_work_comes_in_order_of_arrival() {
        let mut schedule = schedule(1, 10);
        let ids = add(&mut schedule, "a", 3);
        for id in &ids {
            let next = schedule.next(0).unwrap();
            assert_eq!(next.1, *id);
            assert_eq!(schedule.next(0), None, "one at a time");
            schedule.done(&next);
        }
        assert_eq!((schedule.next(0), schedule.pending()), (None, 0));
        assert!(schedule.lines.is_empty());
    }

    #[test]
    fn tenants_take_turns_within_the_bounds() {
        let mut schedule = schedule(2, 4);
        add(&mut schedule, "busy", 50);
        add(&mut schedule, "calm", 2);
        add(&mut schedule, "late", 1);
        let first = all(&mut schedule, 0);
        assert_eq!(tenants(&first), ["busy", "calm", "late", "busy"]);
        schedule.done(&first[1]);
        assert_eq!(tenants(&all(&mut schedule, 0)), ["calm"]);
        schedule.done(&first[2]);
        assert_eq!(schedule.next(0), None, "the busy one has its two");
        schedule.done(&first[0]);
        assert_eq!(tenants(&all(&mut schedule, 0)), ["busy"]);
    }

    #[test]
    fn what_is_under_way_is_not_begun_again_when_its_tenant_was_gone_meanwhile() {
        let mut schedule = schedule(4, 10);
        let ids = add(&mut schedule, "a", 1);
        let next = schedule.next(0).unwrap();
        schedule.forget("a");
        let again = || Pending { id: ids[0].clone(), arrived_ms: 0 };
        assert!(!schedule.add("a", again()), "it is being delivered");
        assert_eq!((schedule.next(0), schedule.pending()), (None, 0));
        schedule.done(&next);
        assert!(schedule.lines.is_empty());
        assert!(schedule.add("a", again()), "whoever looks again finds out whether it is still there");
    }

    #[test]
    fn work_that_failed_waits_and_lets_others_pass() {
        let mut schedule = schedule(1, 10);
        let ids = add(&mut schedule, "a", 2);
        let next = schedule.next(0).unwrap();
        schedule.again(&next, 500);
        assert_eq!(schedule.next_due(), Some(500));
        let second = schedule.next(499).unwrap();
        assert_eq!(second.1, ids[1]);
        schedule.done(&second);
        assert_eq!(schedule.next(499), None);
        assert_eq!(schedule.next(500).unwrap().1, ids[0]);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn a_tenant_that_is_not_served_takes_no_room_and_others_go_on() {
        let mut schedule =
            Schedule::new(Bounds { concurrent_per_tenant: 1, concurrent_max: 10, pending_max: 2 });
        let ids = add(&mut schedule, "a", 2);
        let next = schedule.next(0).unwrap();
        assert!(schedule.is_full());
        schedule.suspend("a");
        schedule.done(&next);
        assert_eq!((schedule.next(u64::MAX), schedule.pending()), (None, 0));
        let again = || Pending { id: ids[0].clone(), arrived_ms: 0 };
        assert!(!schedule.add("a", again()), "it is looked for when the tenant is served again");
        add(&mut schedule, "b", 2);
        assert_eq!(tenants(&all(&mut schedule, 0)), ["b"]);
        assert!(schedule.resume("a") && !schedule.resume("a") && !schedule.resume("nobody"));
        schedule.forget("b");
        assert!(schedule.add("a", again()));
        assert_eq!(schedule.next(0).unwrap().1, ids[0]);
        schedule.suspend("gone");
        schedule.forget("gone");
        assert!(schedule.suspended.is_empty());
    }

    #[test]
    fn a_tenant_that_is_gone_leaves_nothing() {
        let mut schedule = schedule(3, 10);
        add(&mut schedule, "a", 4);
        add(&mut schedule, "b", 1);
        let under_way: Vec<Next> = (0..3).map_while(|_| schedule.next(0)).collect();
        let of_a: Vec<Next> = under_way.into_iter().filter(|(tenant, _)| &**tenant == "a").collect();
        schedule.again(&of_a[0], 9);
        schedule.forget("a");
        assert_eq!((schedule.pending(), schedule.next_due()), (1, None));
        schedule.again(&of_a[1], 9);
        assert_eq!(schedule.next_due(), None);
        assert!(!schedule.lines.contains_key("a"));
    }

    #[test]
    fn what_is_in_mind_has_a_bound_and_nothing_is_there_twice() {
        let mut schedule =
            Schedule::new(Bounds { concurrent_per_tenant: 1, concurrent_max: 1, pending_max: 2 });
        let ids = add(&mut schedule, "a", 1);
        let again = |id: &WorkId| Pending { id: id.clone(), arrived_ms: 5 };
        assert!(!schedule.add("a", again(&ids[0])));
        add(&mut schedule, "b", 1);
        assert!(schedule.is_full() && !schedule.add("c", again(&WorkId::random())));
        assert_eq!(schedule.oldest_ms(), Some(0));
        let next = schedule.next(0).unwrap();
        schedule.done(&next);
        assert!(schedule.add("c", again(&WorkId::random())));
    }
}
