//! Locks over keys, so that a read-modify-write and the other writes of its key come one after another.
//!
//! A fixed number of locks is shared by all keys. They are held for one operation of the engine and never over an
//! await; several are always taken in ascending order, so no two writers wait for each other.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// More than the threads that write at once, by far; a batch of any size takes at most this many locks.
const STRIPES: usize = 256;

pub(super) struct Stripes {
    locks: Box<[Mutex<()>]>,
    /// Seeded at random, so that a guest cannot choose keys that all wait for one lock.
    hasher: RandomState,
}

impl Stripes {
    pub(super) fn new() -> Self {
        Self { locks: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    /// Keeps other writers of this key out until the guard is dropped.
    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.lock_stripe(self.stripe(key))
    }

    /// Keeps other writers of all these keys out until the guards are dropped.
    pub(super) fn lock_all<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<MutexGuard<'_, ()>> {
        let mut wanted = [false; STRIPES];
        for key in keys {
            wanted[self.stripe(key)] = true;
        }
        let chosen = wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
        chosen.map(|(stripe, _)| self.lock_stripe(stripe)).collect()
    }

    /// Returns when everyone who held a lock at the time of the call has let go of it.
    pub(super) fn wait_for_all(&self) {
        for stripe in 0..STRIPES {
            drop(self.lock_stripe(stripe));
        }
    }

    fn stripe(&self, key: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or(0)
    }

    fn lock_stripe(&self, stripe: usize) -> MutexGuard<'_, ()> {
        // The lock guards no data of its own, so a panic of an earlier holder leaves nothing inconsistent.
        self.locks[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
