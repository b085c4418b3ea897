//! One marker, character by character.

/// The longest marker, in characters.
const CHARACTERS_MAX: usize = 48;
/// The most digits of a number.
const DIGITS_MAX: usize = 3;

/// What may become a marker, as far as it was read.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    text: String,
    characters: usize,
    closing: char,
    numbers: Vec<usize>,
    /// The number that is being read.
    number: Option<usize>,
    digits: usize,
    /// Whether a number stands before this place that no sign parts from it.
    needs_sign: bool,
    /// Behind `†`, where OpenAI's models write where in the source it stands.
    in_remark: bool,
}

/// What a character makes of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It may still become one.
    More,
    /// It is one.
    Whole,
    /// It is none; the character is not a part of it.
    NotOne,
}

impl Marker {
    /// A marker that begins with this character, if one can.
    pub(super) fn begin(character: char) -> Option<Self> {
        let closing = match character {
            '[' => ']',
            '【' => '】',
            '［' => '］',
            _ => return None,
        };
        Some(Self {
            text: character.to_string(),
            characters: 1,
            closing,
            numbers: Vec::new(),
            number: None,
            digits: 0,
            needs_sign: false,
            in_remark: false,
        })
    }

    /// Takes the next character.
    pub(super) fn take(&mut self, character: char) -> Step {
        if self.characters >= CHARACTERS_MAX {
            return Step::NotOne;
        }
        let step = self.step(character);
        if step != Step::NotOne {
            self.text.push(character);
            self.characters += 1;
        }
        step
    }

    fn step(&mut self, character: char) -> Step {
        if character == self.closing {
            self.end_number();
            return if self.numbers.is_empty() { Step::NotOne } else { Step::Whole };
        }
        if self.in_remark {
            return if character == '\n' { Step::NotOne } else { Step::More };
        }
        match (character, character.to_digit(10)) {
            (_, Some(digit)) if self.digits < DIGITS_MAX && !self.needs_sign => {
                self.number = Some(self.number.unwrap_or(0) * 10 + digit as usize);
                self.digits += 1;
                Step::More
            }
            (' ', _) => {
                self.end_number();
                Step::More
            }
            (sign, _) if super::is_sign(sign) && (self.number.is_some() || self.needs_sign) => {
                self.end_number();
                self.needs_sign = false;
                Step::More
            }
            ('†', _) if self.closing == '】' && (self.number.is_some() || self.needs_sign) => {
                self.end_number();
                self.in_remark = true;
                Step::More
            }
            _ => Step::NotOne,
        }
    }

    fn end_number(&mut self) {
        if let Some(number) = self.number.take() {
            self.numbers.push(number);
            self.needs_sign = true;
        }
        self.digits = 0;
    }

    /// As it came.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The numbers of sources in it.
    pub(super) fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Whether it is the text of a link, if an address follows.
    pub(super) fn may_be_link(&self) -> bool {
        self.closing == ']'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[usize]>) {
        let mut characters = text.chars();
        let mut marker = Marker::begin(characters.next().unwrap()).unwrap();
        let mut step = Step::More;
        for character in characters {
            assert_eq!(step, Step::More, "{text}");
            step = marker.take(character);
        }
        assert_eq!((step == Step::Whole).then_some(marker.numbers()), expected, "{text}");
    }

    #[test]
    fn numbers_in_brackets_are_markers() {
        check("[1]", Some(&[1]));
        check("[12]", Some(&[12]));
        check("[ 1 ]", Some(&[1]));
        check("[1, 2,3]", Some(&[1, 2, 3]));
        check("[1;2]", Some(&[1, 2]));
        check("【1】", Some(&[1]));
        check("【1、2】", Some(&[1, 2]));
        check("【3†source.pdf】", Some(&[3]));
        check("［4］", Some(&[4]));
        check("[0]", Some(&[0]));
    }

    #[test]
    fn other_brackets_are_not() {
        for text in
            ["[]", "[ ]", "[a", "[1a", "[1 2", "[2024", "[,", "[-", "[1†", "[1】", "【1]", "[^", "【†"]
        {
            check(text, None);
        }
        let mut marker = Marker::begin('[').unwrap();
        assert!((0..CHARACTERS_MAX).any(|_| marker.take(' ') == Step::NotOne), "it has a bound");
    }
}
