//! Strings of PDFs that are for people (ISO 32000, 7.9.2.2).

/// The text of such a string: UTF-16, UTF-8, or PDF's own eight bits, which are nearly those of Windows.
pub(super) fn readable(bytes: &[u8]) -> String {
    if bytes.starts_with(b"\xfe\xff") {
        return encoding_rs::UTF_16BE.decode(bytes).0.into_owned();
    }
    if bytes.starts_with(b"\xff\xfe") {
        return encoding_rs::UTF_16LE.decode(bytes).0.into_owned();
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return encoding_rs::UTF_8.decode(bytes).0.into_owned();
    }
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()
}

/// Text as UTF-16, the high byte first.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).filter_map(Result::ok).collect()
}
