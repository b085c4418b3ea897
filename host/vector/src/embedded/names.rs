//! Names of tenants and indexes as names of folders: readable where a file system takes them as they are, encoded where it
//! may not, and different for different names even where case does not count.

const PLAIN: &str = "n-";
const ENCODED: &str = "x-";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// What is longer is encoded, which every file system takes for names of up to 128 bytes.
const PLAIN_BYTES_MAX: usize = 200;

/// The folder of a name.
pub(crate) fn folder_of(name: &str) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    // Some systems drop a dot at the end.
    if name.len() <= PLAIN_BYTES_MAX && name.bytes().all(is_plain) && !name.ends_with('.') {
        return format!("{PLAIN}{name}");
    }
    let mut folder = ENCODED.to_owned();
    for piece in name.as_bytes().chunks(5) {
        let mut bytes = [0; 8];
        bytes[3..3 + piece.len()].copy_from_slice(piece);
        let number = u64::from_be_bytes(bytes);
        let characters = (piece.len() * 8).div_ceil(5);
        let digits = (0..characters).map(|at| (number >> (35 - 5 * at) & 31) as usize);
        folder.extend(digits.map(|digit| char::from(ALPHABET[digit])));
    }
    folder
}

/// The name whose folder this is; none for a folder that is no name's.
pub(crate) fn name_of(folder: &str) -> Option<String> {
    let name = match folder.strip_prefix(PLAIN) {
        Some(name) => name.to_owned(),
        None => decode(folder.strip_prefix(ENCODED)?)?,
    };
    (folder_of(&name) == folder).then_some(name)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for piece in text.as_bytes().chunks(8) {
        let mut number = 0_u64;
        for at in 0..8 {
            let digit = match piece.get(at) {
                Some(character) => ALPHABET.iter().position(|known| known == character)?,
                None => 0,
            };
            number = number << 5 | digit as u64;
        }
        bytes.extend_from_slice(&number.to_be_bytes()[3..3 + piece.len() * 5 / 8]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay_readable_and_others_are_encoded() {
        assert_eq!(folder_of("docs.v1"), "n-docs.v1");
        for name in ["Docs", "a/b", "..", "", "ä", "docs.", "\0"] {
            let folder = folder_of(name);
            let is_safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(folder == "n-" || folder.starts_with("x-") && folder.bytes().all(is_safe), "{folder}");
        }
        assert_eq!(name_of("something else"), None);
        assert_eq!(name_of("x-!"), None);
    }

    proptest! {
        #[test]
        fn each_name_has_a_folder_of_its_own_that_leads_back(name in "\\PC{0,60}|[A-Za-z0-9._-]{0,128}") {
            let folder = folder_of(&name);
            prop_assert_eq!(folder.to_lowercase(), folder.clone());
            prop_assert!(folder.len() <= 255 || name.len() > 150);
            prop_assert!(!folder.contains(['/', '\0']));
            prop_assert_eq!(name_of(&folder), Some(name));
        }
    }
}
