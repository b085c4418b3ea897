//! Who uses more than a fair share of the processor, decided from what each tenant used lately.
//!
//! Max-min fairness: who asks for less than an equal part gets all it asks for, and what it leaves is split among the
//! others. A tenant over its share is not slowed down as long as nobody else wants the processor: its instances go on
//! in the lane of low priority (see [`crate::lanes`]), where they get what the others leave.

use crate::account::Active;
use std::time::Duration;

/// The part of what was used that counts as there to be shared while tasks wait for a core, percent: less than all of it,
/// so that whoever used the most of it is over its share.
const SHARED_PERCENT: u64 = 90;

/// Sends the tenants behind that used more than their share in `period`. `is_busy`: tasks wait
/// for a core, so whatever the instances could use, they have used.
pub(crate) fn balance(active: &Active, cores: usize, period: Duration, is_busy: bool) {
    let accounts = active.drain();
    if accounts.len() > 1 {
        active.is_shared();
    }
    let used: Vec<u64> = accounts.iter().map(|(_account, used)| *used).collect();
    let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    let machine_ns = period_ns.saturating_mul(cores as u64);
    for ((account, _used), over) in
        accounts.iter().zip(over_share(&used, capacity(&used, machine_ns, is_busy)))
    {
        if over {
            account.is_over_share();
        }
    }
}

/// What there is to share. A tenant that is alone has all there is: nobody gains if it makes way.
fn capacity(used: &[u64], machine: u64, is_busy: bool) -> u64 {
    let sum: u64 = used.iter().fold(0, |sum, used| sum.saturating_add(*used));
    if is_busy && used.len() > 1 { machine.min(sum / 100 * SHARED_PERCENT) } else { machine }
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
    fn on_a_busy_machine_there_is_no_more_to_share_than_was_used() {
        let check = |used: &[u64], is_busy: bool, expected: &[bool]| {
            assert_eq!(over_share(used, capacity(used, 2_000, is_busy)), expected, "{used:?} {is_busy}");
        };
        check(&[10, 600], false, &[false, false]);
        check(&[10, 600], true, &[false, true]);
        check(&[600], true, &[false]);
        check(&[300, 300], true, &[true, true]);
        check(&[100, 200, 1_000], true, &[false, false, true]);
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
