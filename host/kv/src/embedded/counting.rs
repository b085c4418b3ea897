//! Counters in an engine: one step reads and writes all of them under their locks.

use super::{batch::Change, engine::Engine};
use crate::{
    Commit, Counted, CounterChange, Error, Partition,
    counters::{parse, step},
};
use bytes::Bytes;

impl Engine {
    /// Makes one step. Counters that stay as they are are not written.
    pub(super) fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        let full: Vec<Bytes> =
            changes.iter().map(|change| Bytes::from(partition.full_key(&change.key))).collect();
        self.update_many(&full, |found| {
            let value =
                |(value, change): (Option<Bytes>, &CounterChange)| parse(&change.key, value.as_deref());
            let current = found.into_iter().zip(changes).map(value).collect::<Result<Vec<u64>, Error>>()?;
            let counted = step(&current, changes);
            let totals = counted.totals().iter();
            let writes = full.iter().zip(changes).zip(current.iter().zip(totals));
            let writes = writes
                .filter(|(_, (before, after))| before != after)
                .map(|((full, change), (_, after))| {
                    Change::put(full.clone(), after.to_string().as_bytes(), change.expires_ms)
                })
                .collect();
            Ok((counted, writes))
        })
    }
}
