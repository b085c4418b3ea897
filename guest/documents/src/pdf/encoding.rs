//! Encodings of simple fonts (ISO 32000, annex D).

use encoding_rs::{Encoding, MACINTOSH, WINDOWS_1252};

/// Where Adobe's standard encoding is not ASCII.
const STANDARD: [(u8, char); 56] = [
    (0x27, '’'),
    (0x60, '‘'),
    (0xa1, '¡'),
    (0xa2, '¢'),
    (0xa3, '£'),
    (0xa4, '⁄'),
    (0xa5, '¥'),
    (0xa6, 'ƒ'),
    (0xa7, '§'),
    (0xa8, '¤'),
    (0xa9, '\''),
    (0xaa, '“'),
    (0xab, '«'),
    (0xac, '‹'),
    (0xad, '›'),
    (0xae, 'ﬁ'),
    (0xaf, 'ﬂ'),
    (0xb1, '–'),
    (0xb2, '†'),
    (0xb3, '‡'),
    (0xb4, '·'),
    (0xb6, '¶'),
    (0xb7, '•'),
    (0xb8, '‚'),
    (0xb9, '„'),
    (0xba, '”'),
    (0xbb, '»'),
    (0xbc, '…'),
    (0xbd, '‰'),
    (0xbf, '¿'),
    (0xc1, '`'),
    (0xc2, '´'),
    (0xc3, 'ˆ'),
    (0xc4, '˜'),
    (0xc5, '¯'),
    (0xc6, '˘'),
    (0xc7, '˙'),
    (0xc8, '¨'),
    (0xca, '˚'),
    (0xcb, '¸'),
    (0xcd, '˝'),
    (0xce, '˛'),
    (0xcf, 'ˇ'),
    (0xd0, '—'),
    (0xe1, 'Æ'),
    (0xe3, 'ª'),
    (0xe8, 'Ł'),
    (0xe9, 'Ø'),
    (0xea, 'Œ'),
    (0xeb, 'º'),
    (0xf1, 'æ'),
    (0xf5, 'ı'),
    (0xf8, 'ł'),
    (0xf9, 'ø'),
    (0xfa, 'œ'),
    (0xfb, 'ß'),
];

/// An encoding that fonts are based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Standard,
    Windows,
    Macintosh,
}

impl Base {
    /// By its name in a PDF.
    pub(super) fn by_name(name: &str) -> Option<Base> {
        match name {
            "StandardEncoding" => Some(Base::Standard),
            "WinAnsiEncoding" => Some(Base::Windows),
            "MacRomanEncoding" => Some(Base::Macintosh),
            _ => None,
        }
    }

    /// What a byte stands for.
    pub(super) fn text(self, byte: u8) -> Option<String> {
        let of = |encoding: &'static Encoding| {
            let bytes = [byte];
            let text = encoding.decode_without_bom_handling(&bytes).0;
            text.chars().next().filter(|character| !character.is_control()).map(String::from)
        };
        match self {
            Base::Windows => of(WINDOWS_1252),
            Base::Macintosh => of(MACINTOSH),
            Base::Standard => {
                let known = STANDARD.iter().find(|(code, _)| *code == byte).map(|(_, character)| *character);
                let character = known.or_else(|| (0x20..0x7f).contains(&byte).then_some(char::from(byte)));
                character.map(String::from)
            }
        }
    }
}

/// The encoding behind the name of a CMap that comes with every reader, and the bytes of its codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Legacy {
    encoding: &'static Encoding,
    /// Each code has so many bytes; 0 where its first byte tells.
    width: usize,
}

impl Legacy {
    /// By the name of the CMap: `GBK-EUC-H`, `UniGB-UCS2-V`.
    pub(super) fn by_name(name: &str) -> Option<Legacy> {
        let stem = name.trim_end_matches("-H").trim_end_matches("-V");
        let has = |part: &str| stem.contains(part);
        let (encoding, width) = if stem.starts_with("Uni") && (has("UCS2") || has("UTF16")) {
            (encoding_rs::UTF_16BE, 2)
        } else if stem.starts_with("Uni") && has("UTF8") {
            (encoding_rs::UTF_8, 0)
        } else if stem.starts_with("GB") {
            (encoding_rs::GB18030, 0)
        } else if has("B5") {
            (encoding_rs::BIG5, 0)
        } else if has("RKSJ") {
            (encoding_rs::SHIFT_JIS, 0)
        } else if stem.starts_with("KSC") {
            (encoding_rs::EUC_KR, 0)
        } else if stem == "EUC" {
            (encoding_rs::EUC_JP, 0)
        } else {
            return None;
        };
        Some(Legacy { encoding, width })
    }

    /// How many bytes the next code has.
    pub(super) fn length(self, bytes: &[u8]) -> usize {
        let first = bytes.first().copied().unwrap_or(0);
        let length = match self.width {
            0 if self.encoding == encoding_rs::UTF_8 => match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            },
            0 if self.encoding == encoding_rs::SHIFT_JIS && (0xa0..0xe0).contains(&first) => 1,
            0 if first > 0x80 => {
                let is_long =
                    self.encoding == encoding_rs::GB18030 && bytes.get(1).is_some_and(u8::is_ascii_digit);
                if is_long { 4 } else { 2 }
            }
            0 => 1,
            width => {
                let is_pair = (0xd8..0xdc).contains(&first);
                if is_pair { 2 * width } else { width }
            }
        };
        length.min(bytes.len())
    }

    /// What a code stands for.
    pub(super) fn text(self, code: &[u8], out: &mut String) -> bool {
        let (text, has_faults) = self.encoding.decode_without_bom_handling(code);
        if !has_faults {
            out.push_str(&text);
        }
        !has_faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_base_has_its_own_quotes() {
        assert_eq!(Base::Standard.text(0x27).as_deref(), Some("’"));
        assert_eq!(Base::Windows.text(0x92).as_deref(), Some("’"));
        assert_eq!(Base::Macintosh.text(0xd5).as_deref(), Some("’"));
        assert_eq!(Base::Standard.text(0x80), None);
    }

    #[test]
    fn codes_of_known_cmaps_are_characters() {
        let check = |name: &str, bytes: &[u8], length: usize, expected: &str| {
            let legacy = Legacy::by_name(name).unwrap();
            assert_eq!(legacy.length(bytes), length, "{name}");
            let mut text = String::new();
            assert!(legacy.text(&bytes[..length], &mut text));
            assert_eq!(text, expected);
        };
        check("GBK-EUC-H", &[0xd6, 0xd0, 0x41], 2, "中");
        check("GBK2K-V", &[0x41, 0x42], 1, "A");
        check("UniGB-UCS2-H", &[0x4e, 0x2d, 0], 2, "中");
        check("UniJIS-UTF16-H", &[0xd8, 0x3d, 0xde, 0x00], 4, "😀");
        check("90ms-RKSJ-H", &[0xb1, 0xb1], 1, "ｱ");
        assert!(Legacy::by_name("Identity-H").is_none());
    }
}
