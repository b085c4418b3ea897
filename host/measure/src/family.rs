//! Series of one metric by a key, such as an upstream's name: a map with a bound, for keys that are not known beforehand.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// A metric for each key, at most `series_max` of them; all keys that come later share one, under the key that was named
/// for them. A series stays until the process ends, so what it counts never falls.
///
/// Looking one up takes a lock that readers share: keep what [`Family::get`] returned where requests pass often.
pub struct Family<K, M> {
    series: RwLock<HashMap<K, Arc<M>>>,
    series_max: usize,
    rest: (K, Arc<M>),
    make: fn() -> M,
}

impl<K: Eq + Hash + Clone, M: Default> Family<K, M> {
    /// An empty family; `rest` is the key of what has no room.
    #[must_use]
    pub fn new(series_max: usize, rest: K) -> Self {
        Self::made_by(series_max, rest, M::default)
    }
}

impl<K: Eq + Hash + Clone, M> Family<K, M> {
    /// As [`Family::new`], for metrics that `make` makes.
    #[must_use]
    pub fn made_by(series_max: usize, rest: K, make: fn() -> M) -> Self {
        Self { series: RwLock::default(), series_max, rest: (rest, Arc::new(make())), make }
    }

    /// The metric of a key. The key is copied when it is new only.
    pub fn get<Q>(&self, key: &Q) -> Arc<M>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Hash + Eq + ?Sized,
    {
        // A series is whole once it is in the map, so a poisoned lock is as good as any.
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = series.get(key) {
            return Arc::clone(metric);
        }
        if series.len() >= self.series_max {
            return Arc::clone(&self.rest.1);
        }
        drop(series);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = series.get(key) {
            return Arc::clone(metric);
        }
        if series.len() >= self.series_max {
            return Arc::clone(&self.rest.1);
        }
        let metric = Arc::new((self.make)());
        series.insert(key.to_owned(), Arc::clone(&metric));
        metric
    }

    /// All series there are, in no order; that of the rest is the last once there is no room.
    #[must_use]
    pub fn series(&self) -> Vec<(K, Arc<M>)> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = series.iter().map(|(key, metric)| (key.clone(), Arc::clone(metric))).collect();
        if series.len() >= self.series_max {
            all.push(self.rest.clone());
        }
        all
    }
}

impl<K, M> fmt::Debug for Family<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("series_max", &self.series_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    #[test]
    fn a_key_has_the_same_metric_each_time() {
        let family: Family<String, Counter> = Family::new(2, "other".into());
        family.get("a").increment();
        family.get("a").increment();
        assert_eq!(family.get("a").get(), 2);
        assert_eq!(family.series().len(), 1, "the rest is not shown while there is room");
    }

    #[test]
    fn keys_without_room_share_one_series() {
        let family: Family<String, Counter> = Family::new(2, "other".into());
        for key in ["a", "b", "c", "d", "a"] {
            family.get(key).increment();
        }
        let mut series: Vec<_> = family.series().into_iter().map(|(key, one)| (key, one.get())).collect();
        series.sort();
        assert_eq!(series, [("a".to_owned(), 2), ("b".to_owned(), 1), ("other".to_owned(), 2)]);
    }
}
