//! The bytes of files: in parts as they arrive, once for all files of an owner that have the same.

use crate::key;
use crate::record::{Content, Contents};
use crate::recorded;
use waggle_conversation::{Store, StoreError};
use waggle_openai::Nonce;

/// How many bytes a part has, but for the last.
pub(crate) const PART_BYTES: usize = 512 << 10;
/// How many files share one content; one more has bytes of its own.
const SHARERS_MAX: usize = 1_000;
/// How many values are looked at in one step of a deletion.
const STEP_VALUES: usize = 16;

/// Writes one part of a blob.
///
/// # Errors
/// The store's.
pub(crate) async fn write_part<S: Store>(
    store: &S,
    blob: Nonce,
    number: u64,
    bytes: Vec<u8>,
) -> Result<(), StoreError> {
    store.set_many(vec![(key::part(blob, number), bytes)]).await
}

/// One part of a blob; `None` when it is gone.
///
/// # Errors
/// The store's.
pub(crate) async fn part<S: Store>(
    store: &S,
    blob: Nonce,
    number: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(&key::part(blob, number)).await
}

/// All of a blob; `None` when a part of it is gone.
///
/// # Errors
/// The store's.
pub(crate) async fn whole<S: Store>(
    store: &S,
    blob: Nonce,
    parts: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut whole = Vec::new();
    for number in 0..parts {
        let Some(bytes) = part(store, blob, number).await? else { return Ok(None) };
        if whole.is_empty() && parts > 1 {
            // The last part alone may be shorter, so this is at most one part too much.
            whole.reserve_exact(bytes.len().saturating_mul(usize::try_from(parts).unwrap_or(1)));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(Some(whole))
}

/// Deletes values whose keys are numbered from 0 and that were written in this order, however many there are.
///
/// # Errors
/// The store's.
pub(crate) async fn erase_row<S: Store>(store: &S, key: impl Fn(u64) -> String) -> Result<(), StoreError> {
    let mut first = 0;
    loop {
        let keys: Vec<String> = (first..first + STEP_VALUES as u64).map(&key).collect();
        let values = store.get_many(keys.clone()).await?;
        let there = values.iter().flatten().count();
        if there == 0 {
            return Ok(());
        }
        store.delete_many(keys).await?;
        first += STEP_VALUES as u64;
    }
}

/// Deletes a blob, as far as it was written.
///
/// # Errors
/// The store's.
pub(crate) async fn erase<S: Store>(store: &S, blob: Nonce) -> Result<(), StoreError> {
    erase_row(store, |number| key::part(blob, number)).await
}

/// Which contents begin as `hash` does.
fn bucket(hash: &str) -> &str {
    hash.get(..2).unwrap_or_default()
}

/// Counts `file` among those that have the content of this hash, and stores the content as the blob of the file if there
/// is none: the blob that has it, and its parts.
///
/// # Errors
/// The store's.
pub(crate) async fn claim<S: Store>(
    store: &S,
    owner: &str,
    hash: &str,
    (file, parts): (Nonce, u64),
) -> Result<(Nonce, u64), StoreError> {
    let mut claimed = (file, parts);
    let claim = |contents: &mut Contents| {
        let known = contents.contents.iter_mut().find(|content| content.hash == hash);
        match known {
            Some(content) if content.files.contains(&file) => {
                claimed = (content.blob, content.parts);
                false
            }
            Some(content) if content.files.len() < SHARERS_MAX => {
                content.files.push(file);
                claimed = (content.blob, content.parts);
                true
            }
            // So many have it that one more keeps its own, which nobody else will share.
            Some(_) => {
                claimed = (file, parts);
                false
            }
            None => {
                let content = Content { hash: hash.to_owned(), blob: file, parts, files: vec![file] };
                contents.contents.push(content);
                claimed = (file, parts);
                true
            }
        }
    };
    recorded::change_or_default(store, key::contents(owner, bucket(hash)), claim).await?;
    Ok(claimed)
}

/// Counts `file` no more among those that have the content. The blobs that nobody has any more: the content's, if this was
/// its last file, and what the file itself has brought, if nobody took that over.
///
/// # Errors
/// The store's.
pub(crate) async fn release<S: Store>(
    store: &S,
    owner: &str,
    hash: &str,
    file: Nonce,
) -> Result<Vec<Nonce>, StoreError> {
    let mut unused = Vec::new();
    let release = |contents: &mut Contents| {
        unused.clear();
        let mut is_counted = false;
        for content in contents.contents.iter_mut().filter(|content| content.hash == hash) {
            let count = content.files.len();
            content.files.retain(|sharer| *sharer != file);
            is_counted |= content.files.len() < count;
        }
        let ends = |content: &&Content| content.files.is_empty();
        unused.extend(contents.contents.iter().filter(ends).map(|content| content.blob));
        contents.contents.retain(|content| !content.files.is_empty());
        if !contents.contents.iter().any(|content| content.blob == file) && !unused.contains(&file) {
            unused.push(file);
        }
        is_counted
    };
    recorded::change_or_default(store, key::contents(owner, bucket(hash)), release).await?;
    Ok(unused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use waggle_conversation::memory::MemoryStore;

    #[test]
    fn a_content_is_stored_once_and_goes_with_the_last_file_that_has_it() {
        let store = MemoryStore::default();
        let [first, second, third] = [1, 2, 3].map(|number| Nonce::mint(number, 0));
        let claim = |file| block_on(claim(&store, "o", "abcd", (file, 2))).unwrap().0;
        let release = |file| block_on(release(&store, "o", "abcd", file)).unwrap();
        assert_eq!(claim(first), first);
        assert_eq!(claim(second), first);
        assert_eq!(claim(second), first, "a file that is counted is counted once");
        assert_eq!(release(third), [third], "one that was never counted has only its own");
        assert_eq!(release(first), []);
        assert_eq!(release(first), [], "its blob is another's by now");
        assert_eq!(release(second), [first, second]);
        assert_eq!(claim(third), third);
        assert_eq!(release(third), [third]);
    }

    #[test]
    fn a_row_is_deleted_however_long_it_is() {
        let store = MemoryStore::default();
        let blob = Nonce::mint(1, 1);
        for parts in [0, 1, 15, 16, 17, 40] {
            for number in 0..parts {
                block_on(write_part(&store, blob, number, vec![7; 3])).unwrap();
            }
            if parts > 0 {
                let whole = block_on(super::whole(&store, blob, parts)).unwrap().unwrap();
                assert_eq!(whole.len() as u64, 3 * parts);
            }
            assert_eq!(block_on(super::whole(&store, blob, parts + 1)).unwrap(), None);
            block_on(erase(&store, blob)).unwrap();
            assert!(store.dump().is_empty(), "{parts}");
        }
    }
}
