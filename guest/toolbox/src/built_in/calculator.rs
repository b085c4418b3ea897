//! `calculator(expression)`: arithmetic in decimals, exact where decimals are: models are bad at it, and customers are
//! charged what comes out.
//!
//! `+ - * / % ^`, parentheses, `min max round abs sqrt`; numbers of up to 28 digits. `%` is the remainder, as in
//! programming, and keeps the sign of what is divided; `^` binds to the right, and takes whole exponents.

use rust_decimal::{Decimal, RoundingStrategy};

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 1_000;
/// How deep parentheses, signs and powers go.
const DEPTH_MAX: usize = 32;
/// The most arguments of a function.
const ARGUMENTS_MAX: usize = 64;
/// The largest exponent.
const EXPONENT_MAX: i64 = 1_000;
/// How many digits behind the point `round` can keep.
const PLACES_MAX: u32 = 28;
/// How many steps of Newton's are made for a root: each doubles the digits that are right, after some that find its size.
const ROOT_STEPS_MAX: usize = 150;
/// To how many digits behind the point a root is looked at for being exact.
const ROOT_PLACES: u32 = 13;

/// Why there is no result, for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CalculationError {
    /// It is longer than it may be.
    #[error("the expression is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// It is nested deeper than it may be.
    #[error("the expression is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Something else should stand there.
    #[error("at character {at}: expected {expected}, found {found}")]
    Syntax {
        /// The place, from 1 on.
        at: usize,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A function was called in a way it cannot be.
    #[error("{0}")]
    Usage(String),
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A number that is too large, or not real.
    #[error("the result of {0} is no number of at most 28 digits")]
    OutOfRange(&'static str),
}

/// What `expression` comes to.
///
/// # Errors
/// It is no expression, or has no result.
pub(crate) fn calculate(expression: &str) -> Result<String, CalculationError> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(CalculationError::TooLong);
    }
    let mut reader = Reader { text: expression.chars().collect(), at: 0, depth: 0 };
    let result = reader.sum()?;
    match reader.next() {
        None => Ok(result.normalize().to_string()),
        Some(_) => Err(reader.wrong("an operator or the end")),
    }
}

struct Reader {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    /// The next character that is no space, which stays.
    fn next(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|character| character.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied().map(|character| match character {
            '×' | '·' => '*',
            '÷' => '/',
            '−' | '–' => '-',
            character => character,
        })
    }

    /// Takes `wanted` if it is next.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn wrong(&mut self, expected: &'static str) -> CalculationError {
        let found =
            self.next().map_or_else(|| "the end".to_owned(), |found| format!("'{}'", found.escape_debug()));
        CalculationError::Syntax { at: self.at + 1, expected, found }
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), CalculationError> {
        if self.take(wanted) { Ok(()) } else { Err(self.wrong(expected)) }
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CalculationError>,
    ) -> Result<T, CalculationError> {
        if self.depth == DEPTH_MAX {
            return Err(CalculationError::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn sum(&mut self) -> Result<Decimal, CalculationError> {
        let mut left = self.product()?;
        loop {
            left = if self.take('+') {
                let right = self.product()?;
                left.checked_add(right).ok_or(CalculationError::OutOfRange("the addition"))?
            } else if self.take('-') {
                let right = self.product()?;
                left.checked_sub(right).ok_or(CalculationError::OutOfRange("the subtraction"))?
            } else {
                return Ok(left);
            };
        }
    }

    fn product(&mut self) -> Result<Decimal, CalculationError> {
        let mut left = self.signed()?;
        loop {
            left = if self.take('*') {
                let right = self.signed()?;
                left.checked_mul(right).ok_or(CalculationError::OutOfRange("the multiplication"))?
            } else if self.take('/') {
                let right = nonzero(self.signed()?)?;
                left.checked_div(right).ok_or(CalculationError::OutOfRange("the division"))?
            } else if self.take('%') {
                let right = nonzero(self.signed()?)?;
                left.checked_rem(right).ok_or(CalculationError::OutOfRange("the remainder"))?
            } else {
                return Ok(left);
            };
        }
    }

    fn signed(&mut self) -> Result<Decimal, CalculationError> {
        if self.take('-') {
            return self.deeper(Self::signed).map(|value| -value);
        }
        if self.take('+') {
            return self.deeper(Self::signed);
        }
        let base = self.primary()?;
        // It binds to the right, and stronger than a sign in front: -2^2 is -4.
        if self.take('^') {
            let exponent = self.deeper(Self::signed)?;
            return power(base, exponent);
        }
        Ok(base)
    }

    fn primary(&mut self) -> Result<Decimal, CalculationError> {
        match self.next() {
            Some('(') => {
                self.at += 1;
                let inner = self.deeper(Self::sum)?;
                self.expect(')', "')'")?;
                Ok(inner)
            }
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some(letter) if letter.is_alphabetic() => self.function(),
            _ => Err(self.wrong("a number, a function or '('")),
        }
    }

    /// The characters from here on for which `belongs` holds.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.iter().copied().take_while(|character| belongs(*character)).collect();
        self.at += word.chars().count();
        word
    }

    fn number(&mut self) -> Result<Decimal, CalculationError> {
        let written = self.word(|character| character.is_ascii_digit() || matches!(character, '.' | '_'));
        let too_long = || CalculationError::Usage(format!("'{written}' is no number of at most 28 digits"));
        Decimal::from_str_exact(&written.replace('_', "")).map_err(|_| too_long())
    }

    fn function(&mut self) -> Result<Decimal, CalculationError> {
        let name = self.word(char::is_alphanumeric).to_lowercase();
        let known = ["min", "max", "round", "abs", "sqrt"];
        if !known.contains(&name.as_str()) {
            return Err(CalculationError::Usage(format!(
                "there is no '{name}'; there are {}",
                known.join(", ")
            )));
        }
        self.expect('(', "'('")?;
        let arguments = self.deeper(Self::arguments)?;
        apply(&name, &arguments)
    }

    fn arguments(&mut self) -> Result<Vec<Decimal>, CalculationError> {
        let mut arguments = vec![self.sum()?];
        while self.take(',') || self.take(';') {
            if arguments.len() == ARGUMENTS_MAX {
                return Err(CalculationError::Usage(format!(
                    "a function takes at most {ARGUMENTS_MAX} numbers"
                )));
            }
            arguments.push(self.sum()?);
        }
        self.expect(')', "',' or ')'")?;
        Ok(arguments)
    }
}

fn nonzero(value: Decimal) -> Result<Decimal, CalculationError> {
    if value.is_zero() { Err(CalculationError::DivisionByZero) } else { Ok(value) }
}

/// A number that is whole, if it is.
fn whole(value: Decimal) -> Option<i64> {
    i64::try_from(value).ok().filter(|_| value.fract().is_zero())
}

fn power(base: Decimal, exponent: Decimal) -> Result<Decimal, CalculationError> {
    let whole = whole(exponent).filter(|exponent| exponent.abs() <= EXPONENT_MAX);
    let Some(exponent) = whole else {
        let told = format!(
            "exponents are whole numbers from -{EXPONENT_MAX} to {EXPONENT_MAX}; for roots there is sqrt"
        );
        return Err(CalculationError::Usage(told));
    };
    if base.is_zero() && exponent < 0 {
        return Err(CalculationError::DivisionByZero);
    }
    let power = raised(base, exponent.unsigned_abs());
    let power = if exponent < 0 { power.and_then(|power| Decimal::ONE.checked_div(power)) } else { power };
    power.ok_or(CalculationError::OutOfRange("the power"))
}

/// By squaring.
fn raised(mut base: Decimal, mut exponent: u64) -> Option<Decimal> {
    let mut power = Decimal::ONE;
    loop {
        if exponent & 1 == 1 {
            power = power.checked_mul(base)?;
        }
        exponent >>= 1;
        if exponent == 0 {
            return Some(power);
        }
        base = base.checked_mul(base)?;
    }
}

/// By Newton's method, since that of the library panics when it does not settle.
fn root(value: Decimal) -> Option<Decimal> {
    if value.is_zero() {
        return Some(value);
    }
    let mut root = Some(value).filter(|value| !value.is_sign_negative())?.max(Decimal::ONE);
    for _ in 0..ROOT_STEPS_MAX {
        let next = root.checked_add(value.checked_div(root)?)?.checked_div(Decimal::TWO)?;
        // From above it falls until it is as near as digits allow.
        if next >= root {
            break;
        }
        root = next;
    }
    let near = rounded(root, ROOT_PLACES);
    Some(if near.checked_mul(near) == Some(value) { near } else { root })
}

fn apply(name: &str, arguments: &[Decimal]) -> Result<Decimal, CalculationError> {
    let usage = |usage: &str| CalculationError::Usage(format!("{name} is used as {usage}"));
    match (name, arguments) {
        ("min", [first, rest @ ..]) => Ok(rest.iter().fold(*first, |least, one| least.min(*one))),
        ("max", [first, rest @ ..]) => Ok(rest.iter().fold(*first, |most, one| most.max(*one))),
        ("abs", [value]) => Ok(value.abs()),
        ("sqrt", [value]) => root(*value).ok_or(CalculationError::OutOfRange("sqrt")),
        ("round", [value]) => Ok(rounded(*value, 0)),
        ("round", [value, places]) => {
            let places = whole(*places).and_then(|places| u32::try_from(places).ok());
            let places = places.filter(|places| *places <= PLACES_MAX);
            places.map(|places| rounded(*value, places)).ok_or_else(|| usage("round(number, 0 to 28)"))
        }
        ("abs" | "sqrt", _) => Err(usage(&format!("{name}(number)"))),
        _ => Err(usage("round(number) or round(number, digits)")),
    }
}

/// Half away from zero, as people round.
fn rounded(value: Decimal, places: u32) -> Decimal {
    value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(expression: &str, expected: &str) {
        let result = calculate(expression).unwrap_or_else(|error| error.to_string());
        assert_eq!(result, expected, "{expression}");
    }

    #[test]
    fn results_are_exact() {
        check("0.1 + 0.2", "0.3");
        check("19.99 * 3 - 5", "54.97");
        check("2 + 3 * 4 ^ 2 / (1 - 5) ^ 2", "5");
        check("-2 ^ 2", "-4");
        check("2 ^ -2", "0.25");
        check("2 ^ 3 ^ 2", "512");
        check("7 % 3 + -7 % 3", "0");
        check("10 / 4", "2.5");
        check("1_000_000 × 2 ÷ 4 − 1", "499999");
        check("round(2.5) + round(-2.5) + round(1.005, 2)", "1.01");
        check("sqrt(0.0625) + sqrt(144000000) + sqrt(0)", "12000.25");
        check("round(sqrt(2), 12)", "1.414213562373");
        check("min(3, 1, 2) + max(1; abs(-9)) + sqrt(16)", "14");
        check("79228162514264337593543950335", "79228162514264337593543950335");
        check(" .5 ", "0.5");
        check("((((1))))", "1");
    }

    #[test]
    fn what_has_no_result_says_why() {
        check("", "at character 1: expected a number, a function or '(', found the end");
        check("2 +", "at character 4: expected a number, a function or '(', found the end");
        check("2 3", "at character 3: expected an operator or the end, found '3'");
        check("(1", "at character 3: expected ')', found the end");
        check("1 / (2 - 2)", "division by zero");
        check("5 % 0", "division by zero");
        check("0 ^ -1", "division by zero");
        check("sqrt(-1)", "the result of sqrt is no number of at most 28 digits");
        check("9 ^ 99", "the result of the power is no number of at most 28 digits");
        check("2 ^ 0.5", "exponents are whole numbers from -1000 to 1000; for roots there is sqrt");
        check("sin(1)", "there is no 'sin'; there are min, max, round, abs, sqrt");
        check("abs(1, 2)", "abs is used as abs(number)");
        check("1.2.3", "'1.2.3' is no number of at most 28 digits");
        check("\u{1b}", "at character 1: expected a number, a function or '(', found '\\u{1b}'");
        check(&"(".repeat(100), "the expression is nested deeper than 32");
        check(&"-".repeat(100), "the expression is nested deeper than 32");
        check(&"1+".repeat(1000), "the expression is longer than 1000 bytes");
    }

    proptest! {
        #[test]
        fn no_expression_makes_it_panic(expression in "[0-9+*/%^()., a-z-]{0,60}") {
            let _result = calculate(&expression);
        }

        #[test]
        fn sums_are_those_of_whole_numbers(one in -1_000_000_000i64..1_000_000_000, other in -1_000_000_000i64..1_000_000_000) {
            prop_assert_eq!(calculate(&format!("{one} + {other}")).unwrap(), (one + other).to_string());
            prop_assert_eq!(calculate(&format!("({one}) * ({other})")).unwrap(), (i128::from(one) * i128::from(other)).to_string());
        }
    }
}
