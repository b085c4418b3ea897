//! How a value and its expiry lie in the engine: 8 bytes, big-endian, the time of expiry in milliseconds since 1970
//! (0: never), then the value.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes that stand before a value.
pub(super) const HEADER_BYTES: usize = 8;
/// Stands for "never" in the header.
pub(super) const NEVER: u64 = 0;

/// A value as it is stored.
pub(super) fn encode(expires_ms: u64, value: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(HEADER_BYTES + value.len());
    record.put_u64(expires_ms);
    record.put_slice(value);
    record.freeze()
}

/// When a stored value expires; `None` if the record is shorter than its header.
pub(super) fn expires_ms(record: &[u8]) -> Option<u64> {
    record.first_chunk::<HEADER_BYTES>().map(|header| u64::from_be_bytes(*header))
}

/// The value in a record that has a header, without copying it.
pub(super) fn value(record: Bytes) -> Bytes {
    record.slice(HEADER_BYTES..)
}

/// Whether something that expires then is gone now.
pub(super) fn is_expired(expires_ms: u64, now_ms: u64) -> bool {
    expires_ms != NEVER && expires_ms <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_was_put_in() {
        let record = encode(7, b"\xff\x00value");
        assert_eq!(expires_ms(&record), Some(7));
        assert_eq!(value(record).as_ref(), b"\xff\x00value");
        assert_eq!(expires_ms(b"short"), None);
    }

    #[test]
    fn expiry_is_reached_at_its_millisecond() {
        let check =
            |expires, now, expected| assert_eq!(is_expired(expires, now), expected, "{expires} {now}");
        check(NEVER, u64::MAX, false);
        check(100, 99, false);
        check(100, 100, true);
        check(100, 101, true);
    }
}
