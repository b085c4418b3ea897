//! Which encoding a text is in, and the text itself.
//!
//! A byte order mark decides; then what is valid as UTF-8 is UTF-8; then what the uploader or the page says; then how often
//! bytes follow each other, by the detector that Firefox uses, so that French in windows-1252 does not become Chinese.

use crate::error::ExtractError;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Encoding, GB18030, GBK, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// How much of a text is looked at to guess its encoding, in bytes.
const GUESS_BYTES_MAX: usize = 64 << 10;
/// How far into a page its `<meta charset>` may stand, in bytes.
const META_BYTES_MAX: usize = 4 << 10;
/// By how much a decoded text grows at once, in bytes.
const STEP_BYTES: usize = 64 << 10;
/// A text with more than one unreadable character in so many is in another encoding.
const UNREADABLE_SHARE: usize = 50;
/// A text is UTF-8 with faults if it has so many times more whole characters outside ASCII than faults.
const UTF8_SHARE: usize = 20;

/// The encoding of a text. `charset` is what the uploader says.
pub(crate) fn of(bytes: &[u8], charset: Option<&str>) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    if let Some(encoding) = utf16_without_mark(bytes) {
        return encoding;
    }
    if is_nearly_utf8(bytes) {
        return UTF_8;
    }
    let told = charset.and_then(|label| Encoding::for_label(label.as_bytes())).or_else(|| meta(bytes));
    if let Some(told) = told
        && told.is_ascii_compatible()
        && told != UTF_8
    {
        return wide(told);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes.get(..GUESS_BYTES_MAX).unwrap_or(bytes), bytes.len() <= GUESS_BYTES_MAX);
    wide(detector.guess(None, Utf8Detection::Deny))
}

/// GB18030 for GBK, which it contains.
fn wide(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == GBK { GB18030 } else { encoding }
}

/// UTF-16 shows by its zeros: every other byte of what is Latin, or of the spaces and line ends of anything else.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = bytes.get(..4_096).unwrap_or(bytes);
    let zeros = |parity: usize| sample.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = sample.len() / 16;
    if odd > many && odd > 8 * even {
        return Some(UTF_16LE);
    }
    (even > many && even > 8 * odd).then_some(UTF_16BE)
}

fn is_nearly_utf8(bytes: &[u8]) -> bool {
    let (mut faults, mut characters) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        characters += chunk.valid().bytes().filter(|byte| *byte >= 0xc0).count();
        faults += usize::from(!chunk.invalid().is_empty());
    }
    faults == 0 || characters >= UTF8_SHARE * faults
}

/// The encoding that an HTML page says it is in.
fn meta(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..META_BYTES_MAX).unwrap_or(bytes).to_ascii_lowercase();
    let at = head.windows(8).position(|window| window == b"charset=")? + 8;
    let rest = head.get(at..)?;
    let label: Vec<u8> = rest
        .iter()
        .copied()
        .skip_while(|byte| matches!(byte, b'"' | b'\''))
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .collect();
    Encoding::for_label(&label)
}

/// The text, without its byte order mark.
///
/// # Errors
/// [`ExtractError::TooLarge`] where it is longer than `text_bytes_max`, [`ExtractError::UnknownEncoding`].
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    encoding: &'static Encoding,
    text_bytes_max: usize,
) -> Result<Cow<'a, str>, ExtractError> {
    let too_long = || ExtractError::more_than(text_bytes_max, "bytes of text");
    if encoding == UTF_8 {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.len() > text_bytes_max {
            return Err(too_long());
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Ok(Cow::Borrowed(text));
        }
    }
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let (mut text, mut read) = (String::new(), 0);
    loop {
        text.reserve(STEP_BYTES);
        let (result, consumed, _) =
            decoder.decode_to_string(bytes.get(read..).unwrap_or_default(), &mut text, true);
        read += consumed;
        if text.len() > text_bytes_max {
            return Err(too_long());
        }
        if result == CoderResult::InputEmpty {
            break;
        }
    }
    let unreadable = text.chars().filter(|character| *character == '\u{fffd}').count();
    if unreadable * UNREADABLE_SHARE > text.chars().count() {
        return Err(ExtractError::UnknownEncoding);
    }
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHINESE: &str = "退货政策：自签收之日起七天内，商品完好的可以申请无理由退货。\n运费由买家承担。";

    #[track_caller]
    fn check(bytes: &[u8], charset: Option<&str>, expected: &str) {
        assert_eq!(decode(bytes, of(bytes, charset), 1 << 20).unwrap(), expected);
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2], mark: bool) -> Vec<u8> {
        let marked = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
        marked.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn each_encoding_is_found() {
        check(CHINESE.as_bytes(), None, CHINESE);
        check(format!("\u{feff}{CHINESE}").as_bytes(), None, CHINESE);
        check(&GB18030.encode(CHINESE).0, None, CHINESE);
        check(&GBK.encode(CHINESE).0, Some("gb2312"), CHINESE);
        check(&utf16(CHINESE, u16::to_le_bytes, true), None, CHINESE);
        check(&utf16(CHINESE, u16::to_be_bytes, true), None, CHINESE);
        check(
            &utf16("Returns within seven days.", u16::to_le_bytes, false),
            None,
            "Returns within seven days.",
        );
        check(
            &utf16("Returns within seven days.", u16::to_be_bytes, false),
            None,
            "Returns within seven days.",
        );
        let french = "Le café est très cher, mais où est passé le garçon ? Il était là, près de la fenêtre.";
        check(&encoding_rs::WINDOWS_1252.encode(french).0, None, french);
        check(
            &encoding_rs::BIG5.encode("退貨政策：自簽收之日起七天內").0,
            Some("big5"),
            "退貨政策：自簽收之日起七天內",
        );
    }

    #[test]
    fn a_page_says_its_own_encoding() {
        let page = "<meta charset='gbk'><p>中文</p>";
        check(&GBK.encode(page).0, None, page);
    }

    #[test]
    fn a_fault_does_not_make_utf8_another_encoding() {
        let mut bytes = CHINESE.as_bytes().to_vec();
        bytes.truncate(bytes.len() - 1);
        assert_eq!(of(&bytes, None), UTF_8);
    }

    #[test]
    fn what_is_too_long_or_unreadable_is_refused() {
        let refused = |bytes: &[u8], encoding, max| decode(bytes, encoding, max).unwrap_err().code();
        assert_eq!(refused(b"hello", UTF_8, 4), "file_too_large");
        assert_eq!(refused(&GB18030.encode(CHINESE).0, GB18030, 20), "file_too_large");
        assert_eq!(refused(&[0x81, 0x20, 0x81, 0x20, 0xff, 0xff], GB18030, 100), "unknown_encoding");
    }
}
