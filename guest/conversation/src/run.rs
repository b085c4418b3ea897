//! The family `run/`: the journal of a run of the agent, a row of numbered records that are written once each.
//!
//! What a record says is its writer's own, which is `waggle-agent`; here is how they are kept. A record is created only
//! where there is none, so of two who take themselves for a run's only runner, one finds the other's record in the place of
//! its next, and stops. It is kept while the run can be resumed, and goes with its response.

use crate::key;
use crate::store::{Store, StoreError};
use waggle_openai::Nonce;

/// The most records of one run.
pub const RECORDS_MAX: u64 = 1_024;
/// How many records are read or deleted at once.
const PAGE_RECORDS: u64 = 32;

/// Writes record `number`, if there is none; `false` when there is another.
///
/// Written again after an error, with the same bytes, it is `true`: whoever was not told that a record was written may
/// write it once more.
///
/// # Errors
/// The store's.
pub async fn append<S: Store>(
    store: &S,
    response: Nonce,
    number: u64,
    record: Vec<u8>,
) -> Result<bool, StoreError> {
    let key = key::run(response, number);
    if store.swap(&key, None, record.clone()).await? {
        return Ok(true);
    }
    Ok(store.get(&key).await?.is_some_and(|found| found == record))
}

/// All records of a run, oldest first; none when it was never begun, or is over.
///
/// # Errors
/// The store's.
pub async fn load<S: Store>(store: &S, response: Nonce) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut records = Vec::new();
    let mut first = 0;
    while first < RECORDS_MAX {
        let last = (first + PAGE_RECORDS).min(RECORDS_MAX);
        let keys = (first..last).map(|number| key::run(response, number)).collect();
        for value in store.get_many(keys).await? {
            let Some(record) = value else { return Ok(records) };
            records.push(record);
        }
        first = last;
    }
    Ok(records)
}

/// Deletes the first `count` records of a run that is over.
///
/// # Errors
/// The store's.
pub async fn forget<S: Store>(store: &S, response: Nonce, count: u64) -> Result<(), StoreError> {
    // The newest first: what is left when this is interrupted is a row from the beginning on, as it is looked for.
    let mut end = count.min(RECORDS_MAX);
    while end > 0 {
        let first = end.saturating_sub(PAGE_RECORDS);
        store.delete_many((first..end).map(|number| key::run(response, number)).collect()).await?;
        end = first;
    }
    Ok(())
}

/// Deletes all that is left of a response's run, and what was decided of its questions.
///
/// # Errors
/// The store's.
pub async fn remove<S: Store>(store: &S, responses: &[Nonce]) -> Result<(), StoreError> {
    if responses.is_empty() {
        return Ok(());
    }
    // Most have neither, which one read tells of all of them.
    let keys = responses.iter().flat_map(|nonce| [key::run(*nonce, 0), key::approvals(*nonce)]).collect();
    let mut found = store.get_many(keys).await?.into_iter();
    let mut decided = Vec::new();
    for response in responses {
        if found.next().flatten().is_some() {
            let count = load(store, *response).await?.len() as u64;
            forget(store, *response, count).await?;
        }
        if found.next().flatten().is_some() {
            decided.push(key::approvals(*response));
        }
    }
    if decided.is_empty() { Ok(()) } else { store.delete_many(decided).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use futures::executor::block_on;

    fn nonce(number: u128) -> Nonce {
        Nonce::mint(1, number)
    }

    async fn filled(store: &MemoryStore, response: Nonce, count: u64) {
        for number in 0..count {
            assert!(append(store, response, number, number.to_string().into_bytes()).await.unwrap());
        }
    }

    #[test]
    fn records_are_read_in_their_order_however_many_there_are() {
        block_on(async {
            for count in [0, 1, 31, 32, 33, 64, 100] {
                let store = MemoryStore::default();
                filled(&store, nonce(1), count).await;
                let expected: Vec<Vec<u8>> =
                    (0..count).map(|number| number.to_string().into_bytes()).collect();
                assert_eq!(load(&store, nonce(1)).await.unwrap(), expected);
                assert!(load(&store, nonce(2)).await.unwrap().is_empty());
            }
        });
    }

    #[test]
    fn a_place_is_taken_once_and_whoever_took_it_may_say_so_again() {
        block_on(async {
            let store = MemoryStore::default();
            assert!(append(&store, nonce(1), 0, b"mine".to_vec()).await.unwrap());
            assert!(append(&store, nonce(1), 0, b"mine".to_vec()).await.unwrap());
            assert!(!append(&store, nonce(1), 0, b"another's".to_vec()).await.unwrap());
            assert_eq!(load(&store, nonce(1)).await.unwrap(), [b"mine".to_vec()]);
        });
    }

    #[test]
    fn what_is_forgotten_or_removed_leaves_nothing_and_others_stay() {
        block_on(async {
            for count in [0, 1, 32, 33, 100] {
                let store = MemoryStore::default();
                filled(&store, nonce(1), count).await;
                forget(&store, nonce(1), count).await.unwrap();
                assert!(store.dump().is_empty(), "{count}");
                filled(&store, nonce(1), count).await;
                filled(&store, nonce(2), 1).await;
                remove(&store, &[nonce(1), nonce(3)]).await.unwrap();
                assert_eq!(store.dump().len(), 1, "{count}");
            }
        });
    }

    #[test]
    fn what_is_left_of_a_run_goes_with_its_background_response() {
        block_on(async {
            let store = MemoryStore::default();
            filled(&store, nonce(1), 3).await;
            store.put(&key::approvals(nonce(1)), b"{}");
            crate::background::remove(&store, nonce(1)).await.unwrap();
            assert!(store.dump().is_empty());
        });
    }

    #[test]
    fn a_removal_that_was_interrupted_is_taken_up_by_the_next() {
        block_on(async {
            let store = MemoryStore::default();
            filled(&store, nonce(1), 40).await;
            // The newest 32 go first, then the other 8.
            store.fail(Some("delete_many 8"));
            forget(&store, nonce(1), 40).await.unwrap_err();
            assert_eq!(load(&store, nonce(1)).await.unwrap().len(), 8);
            store.fail(None);
            remove(&store, &[nonce(1)]).await.unwrap();
            assert!(store.dump().is_empty());
        });
    }
}
