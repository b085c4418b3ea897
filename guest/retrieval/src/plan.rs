//! What the files of a vector store need and how far they are, worked out from its list. Pure.
//!
//! Files that are alike (the same content, cut in the same way, with the same attributes) are taken in once: the first of
//! them that is to be found leads, the others follow it.

use crate::query::Status;
use crate::record::{MemberEntry, Wish};
use serde::Serialize;
use std::collections::HashMap;
use waggle_openai::Nonce;

/// How many files of a vector store can be worked on at once. Each belongs to one lane.
pub(crate) const LANES: u8 = 4;

/// The lane that a file belongs to.
pub(crate) fn lane_of(file: Nonce) -> u8 {
    let sum: u32 = file.as_str().bytes().map(u32::from).sum();
    u8::try_from(sum % u32::from(LANES)).unwrap_or_default()
}

/// How many files are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) in_progress: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) total: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, status: Status) {
        self.total += 1;
        match status {
            Status::InProgress => self.in_progress += 1,
            Status::Completed => self.completed += 1,
            Status::Failed => self.failed += 1,
            Status::Cancelled => self.cancelled += 1,
        }
    }
}

/// What is to be done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To be taken into the index.
    Take,
    /// To be taken out of it.
    Forget,
}

/// A file that needs something: the page of its entry, the entry, and what.
pub(crate) type Task = (u32, MemberEntry, Need);

/// The files of a vector store.
#[derive(Debug)]
pub(crate) struct Plan {
    entries: Vec<(u32, MemberEntry)>,
    /// For each kind of alike files the place of the one that leads.
    leaders: HashMap<String, usize>,
}

impl Plan {
    /// Looks at a list, oldest first.
    pub(crate) fn new(entries: Vec<(u32, MemberEntry)>) -> Self {
        let mut leaders = HashMap::new();
        for (place, (_, entry)) in entries.iter().enumerate() {
            if entry.wish == Wish::Live {
                leaders.entry(entry.alike.clone()).or_insert(place);
            }
        }
        Self { entries, leaders }
    }

    /// The entries that clients see, oldest first.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &MemberEntry> {
        self.entries.iter().map(|(_, entry)| entry).filter(|entry| entry.wish != Wish::Removing)
    }

    /// The entry of a file that clients see, of this version.
    pub(crate) fn find(&self, file: Nonce, version: u64) -> Option<&MemberEntry> {
        self.seen().find(|entry| entry.id == file && entry.version == version)
    }

    fn leader(&self, entry: &MemberEntry) -> Option<&MemberEntry> {
        let place = self.leaders.get(&entry.alike)?;
        self.entries.get(*place).map(|(_, leader)| leader)
    }

    fn leads(&self, entry: &MemberEntry) -> bool {
        self.leader(entry).is_some_and(|leader| leader.id == entry.id && leader.version == entry.version)
    }

    /// The entry whose chunks stand for this one.
    pub(crate) fn found_as(&self, entry: &MemberEntry) -> Option<&MemberEntry> {
        if entry.published.is_empty() { self.leader(entry) } else { self.find(entry.id, entry.version) }
    }

    /// Whether a file is to be found and is in no index yet.
    pub(crate) fn is_waiting(&self, entry: &MemberEntry) -> bool {
        let leader = self.leader(entry).filter(|_| entry.wish == Wish::Live);
        leader.is_some_and(|leader| leader.published.is_empty() && entry.published.is_empty())
    }

    /// How many files are in no index yet.
    pub(crate) fn waiting(&self) -> usize {
        self.seen().filter(|entry| self.is_waiting(entry)).count()
    }

    /// How far a file is, where the index of `generation` is the one that is searched.
    pub(crate) fn status(&self, entry: &MemberEntry, generation: u32) -> Status {
        match entry.wish {
            Wish::Failed => Status::Failed,
            Wish::Cancelled | Wish::Cancelling | Wish::Removing => Status::Cancelled,
            Wish::Live => {
                let found = |entry: &MemberEntry| entry.published.contains(&generation);
                let is_found = found(entry) || self.leader(entry).is_some_and(found);
                if is_found { Status::Completed } else { Status::InProgress }
            }
        }
    }

    /// How many of the files that clients see are how far.
    pub(crate) fn counts(&self, generation: u32) -> Counts {
        let mut counts = Counts::default();
        for entry in self.seen() {
            counts.add(self.status(entry, generation));
        }
        counts
    }

    /// About how many bytes the files take that clients see.
    pub(crate) fn bytes(&self) -> u64 {
        self.seen().map(|entry| entry.bytes).sum()
    }

    fn need(&self, entry: &MemberEntry, target: u32) -> Option<Need> {
        match entry.wish {
            Wish::Cancelling | Wish::Removing => Some(Need::Forget),
            Wish::Failed | Wish::Cancelled => None,
            Wish::Live if entry.published.contains(&target) || !self.leads(entry) => None,
            Wish::Live => Some(Need::Take),
        }
    }

    /// What is to be done on a lane so that all its files are in the index of the generation `target`, oldest first.
    pub(crate) fn tasks(&self, lane: u8, target: u32) -> Vec<Task> {
        let needs = self
            .entries
            .iter()
            .filter(|(_, entry)| lane_of(entry.id) == lane)
            .filter_map(|(page, entry)| Some((*page, entry.clone(), self.need(entry, target)?)));
        needs.collect()
    }

    /// The lanes on which there is something to be done.
    pub(crate) fn lanes(&self, target: u32) -> Vec<u8> {
        let mut lanes: Vec<u8> = self
            .entries
            .iter()
            .filter(|(_, entry)| self.need(entry, target).is_some())
            .map(|(_, entry)| lane_of(entry.id))
            .collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Whether all that is to be found is in the index of the generation `target`.
    pub(crate) fn is_whole(&self, target: u32) -> bool {
        self.entries.iter().all(|(_, entry)| self.need(entry, target) != Some(Need::Take))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(id: u64, wish: Wish, alike: &str, published: &[u32]) -> (u32, MemberEntry) {
        let entry = MemberEntry {
            id: Nonce::mint(id, u128::from(id)),
            version: 1,
            created_at: 1,
            wish,
            alike: alike.to_owned(),
            published: published.to_vec(),
            bytes: 10,
        };
        (0, entry)
    }

    fn tasks(plan: &Plan, target: u32) -> Vec<(u64, Need)> {
        let mut tasks: Vec<_> = (0..LANES).flat_map(|lane| plan.tasks(lane, target)).collect();
        tasks.sort_by_key(|(_, entry, _)| entry.id);
        tasks.into_iter().map(|(_, entry, need)| (entry.id.unix_ms(), need)).collect()
    }

    #[test]
    fn the_first_of_those_that_are_alike_is_taken_in_for_all() {
        let plan = Plan::new(vec![
            entry(1, Wish::Failed, "a", &[]),
            entry(2, Wish::Live, "a", &[]),
            entry(3, Wish::Live, "a", &[]),
            entry(4, Wish::Live, "b", &[]),
        ]);
        assert_eq!(tasks(&plan, 1), [(2, Need::Take), (4, Need::Take)]);
        assert_eq!(plan.counts(1), Counts { in_progress: 3, failed: 1, total: 4, ..Counts::default() });
        let plan = Plan::new(vec![entry(2, Wish::Live, "a", &[1]), entry(3, Wish::Live, "a", &[])]);
        assert_eq!(tasks(&plan, 1), []);
        assert_eq!(plan.counts(1), Counts { completed: 2, total: 2, ..Counts::default() });
        // When the first goes, the next takes its place.
        let plan = Plan::new(vec![entry(2, Wish::Removing, "a", &[1]), entry(3, Wish::Live, "a", &[])]);
        assert_eq!(tasks(&plan, 1), [(2, Need::Forget), (3, Need::Take)]);
        assert_eq!(plan.counts(1), Counts { in_progress: 1, total: 1, ..Counts::default() });
    }

    #[test]
    fn a_new_generation_needs_all_that_is_found_and_the_old_one_is_searched_until_then() {
        let plan = Plan::new(vec![entry(1, Wish::Live, "a", &[1]), entry(2, Wish::Live, "b", &[1, 2])]);
        assert_eq!(tasks(&plan, 2), [(1, Need::Take)]);
        assert!(!plan.is_whole(2) && plan.is_whole(1));
        assert_eq!(plan.counts(1).completed, 2);
        assert_eq!(plan.counts(2), Counts { completed: 1, in_progress: 1, total: 2, ..Counts::default() });
    }

    #[test]
    fn what_is_not_wanted_is_shown_as_cancelled_and_what_goes_not_at_all() {
        let plan = Plan::new(vec![
            entry(1, Wish::Cancelling, "a", &[1]),
            entry(2, Wish::Cancelled, "b", &[]),
            entry(3, Wish::Removing, "c", &[1]),
        ]);
        assert_eq!(plan.counts(1), Counts { cancelled: 2, total: 2, ..Counts::default() });
        assert_eq!(tasks(&plan, 1), [(1, Need::Forget), (3, Need::Forget)]);
        assert!(plan.is_whole(1));
        assert_eq!(plan.bytes(), 20);
    }

    proptest! {
        #[test]
        fn when_all_tasks_are_done_nothing_is_in_progress(
            files in prop::collection::vec((0usize..5, 0u8..3, prop::collection::vec(1u32..3, 0..2)), 0..20),
        ) {
            let wishes = [Wish::Live, Wish::Failed, Wish::Cancelled, Wish::Cancelling, Wish::Removing];
            let entries: Vec<_> = files.iter().enumerate().map(|(place, (wish, alike, published))| {
                entry(place as u64 + 1, wishes[*wish], &alike.to_string(), published)
            }).collect();
            let plan = Plan::new(entries.clone());
            let needs = tasks(&plan, 2);
            prop_assert_eq!(plan.lanes(2).is_empty(), needs.is_empty());
            let done = entries.into_iter().filter_map(|(page, mut entry)| {
                match needs.iter().find(|(id, _)| *id == entry.id.unix_ms()) {
                    Some((_, Need::Take)) => entry.published.push(2),
                    Some((_, Need::Forget)) if entry.wish == Wish::Removing => return None,
                    Some((_, Need::Forget)) => entry.wish = Wish::Cancelled,
                    None => {}
                }
                Some((page, entry))
            }).collect();
            let plan = Plan::new(done);
            prop_assert_eq!(plan.counts(2).in_progress, 0);
            prop_assert_eq!(tasks(&plan, 2), []);
            prop_assert!(plan.is_whole(2));
        }
    }
}
