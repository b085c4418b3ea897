//! Who uses more than a fair share of the processor, decided from what each tenant used lately.
//!
//! Max-min fairness: who asks for less than an equal part gets all it asks for, and what it leaves is split among the
//! others. A tenant over its share is not slowed down as long as nobody else wants the processor: its instances go on
//! in the lane of low priority (see [`crate::lanes`]), where they get what the others leave.

use crate::account::Active;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The part of the machine that instances are expected to use when it is busy, percent; the rest goes to connections,
/// the store and the kernel.
const INSTANCES_PERCENT: u64 = 40;

/// Marks the tenants that used more than their share in `period`, and takes the mark off the others.
pub(crate) fn balance(active: &Active, cores: usize, period: Duration) {
    let accounts = active.drain();
    let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    let capacity_ns = period_ns.saturating_mul(cores as u64) / 100 * INSTANCES_PERCENT;
    let used: Vec<u64> = accounts.iter().map(|(_account, used)| *used).collect();
    for ((account, _used), over) in accounts.iter().zip(over_share(&used, capacity_ns)) {
        account.over_share.store(over, Relaxed);
    }
}

/// For each tenant, whether it used more than its max-min share of `capacity`.
fn over_share(used: &[u64], capacity: u64) -> Vec<bool> {
    let share = share(used, capacity);
    used.iter().map(|used| *used > share).collect()
}

/// The most that any tenant gets when all want what they used.
fn share(used: &[u64], capacity: u64) -> u64 {
    let mut sorted = used.to_vec();
    sorted.sort_unstable();
    let mut left = capacity;
    for (index, used) in sorted.iter().enumerate() {
        let equal = left / (sorted.len() - index) as u64;
        if *used > equal {
            return equal;
        }
        left -= used;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_over_its_share() {
        let check = |used: &[u64], expected: &[bool]| {
            assert_eq!(over_share(used, 100), expected, "{used:?}");
        };
        check(&[], &[]);
        check(&[100], &[false]);
        check(&[101], &[true]);
        check(&[10, 90], &[false, false]);
        check(&[10, 95], &[false, true]);
        check(&[60, 60], &[true, true]);
        check(&[1, 1, 1, 500], &[false, false, false, true]);
        check(&[20, 30, 60], &[false, false, true]);
    }

    #[test]
    fn what_is_granted_never_exceeds_the_machine() {
        for used in [vec![7, 80, 3, 3, 90, 41], vec![100, 100, 100], vec![1; 200]] {
            let share = share(&used, 100);
            if share < u64::MAX {
                let granted: u64 = used.iter().map(|used| (*used).min(share)).sum();
                assert!(granted <= 100, "{used:?} {granted}");
            }
        }
    }
}
