//! Idempotency keys: the same for every attempt at the same call, and for no other.

use sha2::{Digest as _, Sha256};
use waggle_conversation::hex;
use waggle_openai::{ItemId, Nonce};

/// How many bytes of the hash are used: 128 bits, which nobody makes collide by chance.
const HASH_BYTES: usize = 16;

/// The key of a step's call of the model: `wm_` and 32 hexadecimal digits.
pub fn of_model(response: Nonce, step: u32) -> String {
    derived("wm_", &[response.as_str(), &step.to_string()])
}

/// The key of a call of a tool, by its place among the step's calls: `wt_` and 32 hexadecimal digits.
pub fn of_call(response: Nonce, step: u32, index: usize) -> String {
    derived("wt_", &[response.as_str(), &step.to_string(), &index.to_string()])
}

/// The key of a call that was approved, by the question: whichever turn makes it, it is the same call.
pub fn of_approved(request: ItemId) -> String {
    derived("wt_", &[&request.to_string()])
}

fn derived(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // None of the parts has a line break in it, so no two lists of parts read the same.
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    let digest = hash.finalize();
    format!("{prefix}{}", hex(digest.get(..HASH_BYTES).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use waggle_openai::id::ItemKind;
    use waggle_openai::item::HostedKind;

    #[test]
    fn every_call_has_a_key_of_its_own_that_is_the_same_each_time() {
        let request = |random, index| ItemId {
            kind: ItemKind::Hosted(HostedKind::McpApproval),
            nonce: Nonce::mint(1, random),
            index,
        };
        let all = || {
            let mut keys = Vec::new();
            for nonce in [Nonce::mint(1, 1), Nonce::mint(1, 2)] {
                for step in [1, 11, 111] {
                    keys.push(of_model(nonce, step));
                    keys.extend([1, 11].map(|index| of_call(nonce, step, index)));
                }
            }
            keys.extend([request(1, 1), request(1, 2), request(2, 1)].map(of_approved));
            keys
        };
        let (keys, again) = (all(), all());
        assert_eq!(keys, again);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        let fits = |key: &String| key.len() == 35 && key.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(keys.iter().all(fits), "{keys:?}");
    }
}
