//! Which of the two languages of our own texts a caller reads (RFC 9110, section 12.5.4).

/// The most ranges of an `Accept-Language` that are looked at.
const RANGES_MAX: usize = 64;
/// The quality of a range that names none, in thousandths.
const QUALITY_DEFAULT: u16 = 1000;

/// A language of our own texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Chinese, in whatever script it is asked for.
    Chinese,
    /// English, and whatever we have no text in.
    English,
}

impl Language {
    /// The language for an `Accept-Language`.
    ///
    /// Chinese when it is named and weighs more than English, or as much and is named first. A `*` stands for English:
    /// whoever takes any language has not asked for Chinese.
    pub(crate) fn negotiate(accept_language: Option<&str>) -> Self {
        let mut chinese = Wish::default();
        let mut english = Wish::default();
        for (place, range) in accept_language.unwrap_or_default().split(',').take(RANGES_MAX).enumerate() {
            let Some((tag, quality)) = read_range(range) else { continue };
            let primary = tag.split('-').next().unwrap_or_default();
            if primary.eq_ignore_ascii_case("zh") {
                chinese.take(quality, place);
            } else if primary.eq_ignore_ascii_case("en") || tag == "*" {
                english.take(quality, place);
            }
        }
        if chinese.is_before(&english) { Self::Chinese } else { Self::English }
    }

    /// The language's tag, by which it is kept.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// The text for a model that does not answer.
    pub(crate) fn busy(self) -> &'static str {
        match self {
            Self::Chinese => "系统繁忙,请稍后再试",
            Self::English => "We are busy, please try again later",
        }
    }
}

/// How much a language is wanted.
#[derive(Default)]
struct Wish {
    /// In thousandths; 0 is not at all.
    quality: u16,
    /// Where in the list that stands.
    place: usize,
}

impl Wish {
    fn take(&mut self, quality: u16, place: usize) {
        if quality > self.quality {
            *self = Self { quality, place };
        }
    }

    fn is_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || self.quality > 0 && self.quality == other.quality && self.place < other.place
    }
}

/// A range and its quality; `None` when it is not of the standard's form.
fn read_range(range: &str) -> Option<(&str, u16)> {
    let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
    let tag = tag.trim();
    if tag.is_empty() {
        return None;
    }
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some((tag, QUALITY_DEFAULT));
    }
    let (name, value) = parameters.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    Some((tag, read_quality(value.trim())?))
}

/// `0` to `1` with at most three decimals, in thousandths.
fn read_quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(accept_language: &str, expected: Language) {
        assert_eq!(Language::negotiate(Some(accept_language)), expected, "{accept_language:?}");
    }

    #[test]
    fn chinese_is_for_those_who_ask_for_it() {
        use Language::{Chinese, English};
        assert_eq!(Language::negotiate(None), English);
        for (accept_language, expected) in [
            ("", English),
            ("zh", Chinese),
            ("zh-CN", Chinese),
            ("ZH-hant-TW", Chinese),
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", English),
            ("en;q=0.5, zh-TW;q=0.7", Chinese),
            ("en;q=0.5,zh;q=0.501", Chinese),
            ("zh,en", Chinese),
            ("en,zh", English),
            ("fr, zh;q=0.1", Chinese),
            ("fr,de;q=0.5", English),
            ("zh;q=0", English),
            ("zh;q=0.000, *", English),
            ("*", English),
            ("zh;q=0.5, *", English),
            ("zh, *;q=0.5", Chinese),
            ("en;q=0, zh;q=0.1", Chinese),
            ("zha", English),
            ("zh;q=2, en;q=0.1", English),
            ("zh;q=0.1234, en;q=0.1", English),
            ("zh;q=x", English),
            ("zh;level=1", English),
            (" zh-CN ; Q = 0.3 ", Chinese),
            (",,zh,,", Chinese),
            ("zh-TW;q=0.2,en;q=0.3,zh-CN;q=0.4", Chinese),
        ] {
            check(accept_language, expected);
        }
    }

    #[test]
    fn a_list_without_end_is_looked_at_for_so_long() {
        let many = format!("{}zh", "fr,".repeat(1000));
        check(&many, Language::English);
    }

    proptest! {
        #[test]
        fn any_field_has_a_language(field in ".{0,60}") {
            let _language = Language::negotiate(Some(&field));
        }
    }
}
