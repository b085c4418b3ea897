//! What stands for a text: the same text has the same hash, and nobody can make another one with it.

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The first 128 bits of SHA-256 over the parts, in 32 hexadecimal digits. Parts are told apart by their lengths.
pub(crate) fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let mut hex = String::with_capacity(32);
    for byte in digest.finalize().iter().take(16) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_hash_tells_where_its_parts_end() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_eq!(hash(&[]).len(), 32);
    }
}
