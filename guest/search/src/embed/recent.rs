//! The vectors of the questions that were asked last, in the memory of the instance, which serves one tenant only.

use std::cell::RefCell;
use std::rc::Rc;

/// How many are remembered.
const ENTRIES_MAX: usize = 256;

/// A hash of model and text.
pub(super) type TextHash = [u8; 32];

type Entries = Vec<(TextHash, Vec<f32>)>;

/// A few vectors; the one that was not asked for the longest makes room. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// The newest last.
    entries: Rc<RefCell<Entries>>,
}

thread_local! {
    static OF_INSTANCE: Recent = Recent::default();
}

impl Recent {
    /// What this instance remembers.
    pub fn of_instance() -> Self {
        OF_INSTANCE.with(Clone::clone)
    }

    pub(super) fn get(&self, hash: &TextHash) -> Option<Vec<f32>> {
        let mut entries = self.entries.borrow_mut();
        let place = entries.iter().rposition(|(known, _)| known == hash)?;
        let entry = entries.remove(place);
        let vector = entry.1.clone();
        entries.push(entry);
        Some(vector)
    }

    pub(super) fn put(&self, hash: &TextHash, vector: &[f32]) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|(known, _)| known != hash);
        if entries.len() >= ENTRIES_MAX {
            entries.remove(0);
        }
        entries.push((*hash, vector.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> TextHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    #[test]
    fn what_was_not_asked_for_the_longest_makes_room() {
        let recent = Recent::default();
        for number in 0..ENTRIES_MAX {
            recent.put(&hash(number), &[1.0]);
        }
        assert!(recent.get(&hash(0)).is_some());
        recent.put(&hash(ENTRIES_MAX), &[2.0]);
        recent.put(&hash(ENTRIES_MAX), &[3.0]);
        assert_eq!(recent.entries.borrow().len(), ENTRIES_MAX);
        assert_eq!(recent.get(&hash(ENTRIES_MAX)), Some(vec![3.0]));
        assert_eq!((recent.get(&hash(0)), recent.get(&hash(1))), (Some(vec![1.0]), None));
    }
}
