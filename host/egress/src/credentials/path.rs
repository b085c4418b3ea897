//! What a path means: whether it lies below a prefix, and whether a server could read it as another path.

/// How often a path is percent-decoded when it is searched for dot segments: some servers decode more than once.
const DECODE_ROUNDS_MAX: usize = 4;

/// Whether `path` is `prefix` or lies below it, by whole segments.
pub(super) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a server could read `path` as another path: it has a segment `.` or `..`, plain, percent-encoded (even more
/// than once), set apart by a backslash, or followed by a `;` parameter.
pub(super) fn is_evasive(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..DECODE_ROUNDS_MAX {
        if has_dot_segment(&bytes) {
            return true;
        }
        if !bytes.contains(&b'%') {
            return false;
        }
        bytes = percent_decode(&bytes);
    }
    // Still not plain after all rounds: nobody writes such a path in good faith.
    bytes.contains(&b'%')
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

/// `text` with its percent-encodings decoded once; what is no encoding stays.
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |index: usize| text.get(index).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut index = 0;
    while let Some(byte) = text.get(index) {
        let pair = if *byte == b'%' { digit(index + 1).zip(digit(index + 2)) } else { None };
        match pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(*byte);
                index += 1;
            }
        }
    }
    decoded
}
