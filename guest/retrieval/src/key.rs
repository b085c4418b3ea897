//! The keys of the function's families, built here and nowhere else.

use sha2::{Digest as _, Sha256};
use waggle_conversation::{Owner, hex};
use waggle_openai::Nonce;

/// How many bytes of the hash of a user's name stand in a key: 128 bits, which nobody makes collide with a name that they
/// are given.
const OWNER_BYTES: usize = 16;

/// What stands in keys for whoever owns something: a hash of the user's name, so that no key names a person.
pub(crate) fn owner(owner: &Owner) -> String {
    let services = || "services".to_owned();
    owner.user().map_or_else(services, |user| {
        let digest = Sha256::digest(user.as_bytes());
        hex(digest.get(..OWNER_BYTES).unwrap_or_default())
    })
}

/// A file: whose, how long, where its bytes are.
pub(crate) fn file(file: Nonce) -> String {
    format!("file/{file}")
}

/// A part of a file's bytes, named by the file that brought them. Keys sort by number.
pub(crate) fn part(blob: Nonce, number: u64) -> String {
    format!("file/{blob}/part/{number:06}")
}

/// Which of an owner's contents are stored, for those whose hash begins with `bucket`, two hexadecimal digits.
pub(crate) fn contents(owner: &str, bucket: &str) -> String {
    format!("content/{owner}/{bucket}")
}

/// What the keys of an owner's list of files begin with.
pub(crate) fn files(owner: &str) -> String {
    format!("roster/{owner}/files")
}

/// What the keys of an owner's list of vector stores begin with.
pub(crate) fn stores(owner: &str) -> String {
    format!("roster/{owner}/vector_stores")
}

/// What the keys of a vector store's list of files begin with.
pub(crate) fn members(store: Nonce) -> String {
    format!("vector_store/{store}/files")
}

/// What the keys of a vector store's list of batches begin with.
pub(crate) fn batches(store: Nonce) -> String {
    format!("vector_store/{store}/batches")
}

/// Which pages a list has; `prefix` is one of the four above.
pub(crate) fn roster_head(prefix: &str) -> String {
    format!("{prefix}/head")
}

/// A page of a list.
pub(crate) fn roster_page(prefix: &str, number: u32) -> String {
    format!("{prefix}/page/{number:06}")
}

/// A vector store.
pub(crate) fn store(store: Nonce) -> String {
    format!("vector_store/{store}")
}

/// A file in a vector store.
pub(crate) fn member(store: Nonce, file: Nonce) -> String {
    format!("vector_store/{store}/file/{file}")
}

/// Chunks of a file that are on their way into an index.
pub(crate) fn chunks(store: Nonce, file: Nonce, version: u64, page: u32) -> String {
    format!("vector_store/{store}/file/{file}/chunks/{version:016}/{page:06}")
}

/// Who works on a lane of a vector store.
pub(crate) fn lane(store: Nonce, lane: u8) -> String {
    format!("vector_store/{store}/lane/{lane}")
}

/// A batch of files that were added together.
pub(crate) fn batch(store: Nonce, batch: Nonce) -> String {
    format!("vector_store/{store}/batch/{batch}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_conversation::Viewer;

    #[test]
    fn a_name_stands_in_no_key() {
        let of = |name: &str| owner(&Viewer::user(name).unwrap().owner());
        // The first half of SHA-256("abc"), FIPS 180-4's example.
        assert_eq!(of("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(of("ada"), of("Ada"));
        assert_eq!(owner(&Owner::default()), "services");
        assert_ne!(of("services"), "services");
    }
}
