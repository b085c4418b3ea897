//! How many requests are under way and how many wait, in one atomic number, so that neither is ever seen without the
//! other: a request that finds nobody waiting and a free seat takes it in one step, and whoever gives one back knows in
//! the same step whether somebody waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

const ONE_WAITING: u64 = 1 << 32;

/// The low half counts the requests under way, the high half those that wait.
#[derive(Debug, Default)]
pub(super) struct Seats(AtomicU64);

impl Seats {
    /// Takes a seat for a request that has just come: only if fewer than `most` are taken and nobody waits.
    pub(super) fn take(&self, most: u32) -> bool {
        self.change(|seats| (waiting(seats) == 0 && under_way(seats) < most).then(|| seats + 1)).is_some()
    }

    /// Takes a seat for the first of those that wait. It stays among them until [`Self::leave_queue`].
    pub(super) fn take_first(&self, most: u32) -> bool {
        self.change(|seats| (under_way(seats) < most).then(|| seats + 1)).is_some()
    }

    /// Gives a seat back and says whether somebody waits.
    pub(super) fn give_back(&self) -> bool {
        waiting(self.0.fetch_sub(1, Ordering::AcqRel)) > 0
    }

    /// Joins those that wait, if they are fewer than `most`. The number of those that came before.
    pub(super) fn join_queue(&self, most: u32) -> Option<u32> {
        self.change(|seats| (waiting(seats) < most).then(|| seats + ONE_WAITING)).map(waiting)
    }

    pub(super) fn leave_queue(&self) {
        self.0.fetch_sub(ONE_WAITING, Ordering::AcqRel);
    }

    pub(super) fn under_way(&self) -> u32 {
        under_way(self.0.load(Ordering::Acquire))
    }

    pub(super) fn waiting(&self) -> u32 {
        waiting(self.0.load(Ordering::Acquire))
    }

    /// The state before the change, if there was one.
    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut seats = self.0.load(Ordering::Acquire);
        loop {
            let after = change(seats)?;
            match self.0.compare_exchange_weak(seats, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(before) => return Some(before),
                Err(found) => seats = found,
            }
        }
    }
}

fn under_way(seats: u64) -> u32 {
    (seats & (ONE_WAITING - 1)) as u32
}

fn waiting(seats: u64) -> u32 {
    (seats >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_not_taken_past_those_that_wait() {
        let seats = Seats::default();
        assert!(seats.take(2) && seats.take(2) && !seats.take(2));
        assert_eq!(seats.join_queue(2), Some(0));
        assert_eq!(seats.join_queue(2), Some(1));
        assert_eq!(seats.join_queue(2), None);
        assert!(seats.give_back(), "somebody waits");
        assert!(!seats.take(2), "somebody waits for it");
        assert!(seats.take_first(2));
        seats.leave_queue();
        seats.leave_queue();
        assert_eq!((seats.under_way(), seats.waiting()), (2, 0));
        assert!(!seats.give_back());
    }
}
