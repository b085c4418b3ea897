//! The query of a request: only parameters that the route has, each at most once.

use crate::problem::{Mistake, Problem};

/// The parameters as they were given.
pub(crate) struct Query<'q>(Vec<(&'q str, &'q str)>);

impl<'q> Query<'q> {
    /// Reads `query`. No value that is expected needs an escape, so none is resolved.
    ///
    /// # Errors
    /// 400 with every parameter that is unknown or given twice.
    pub(crate) fn read(query: &'q str, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        let mut mistakes = Vec::new();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(name) {
                let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                let detail = format!("unknown parameter; expected {}", names.join(" or "));
                mistakes.push(Mistake::parameter(name, detail));
            } else if pairs[..index].iter().any(|(before, _)| before == name) {
                mistakes.push(Mistake::parameter(name, "is given twice"));
            }
        }
        if mistakes.is_empty() { Ok(Self(pairs)) } else { Err(Problem::query(mistakes)) }
    }

    /// The value of `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&'q str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The value of `name`, a number from `least` to `most`.
    ///
    /// # Errors
    /// 400 when it is not.
    pub(crate) fn number(&self, name: &str, least: usize, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let detail = format!("expected a number from {least} to {most}");
                Err(Problem::query(vec![Mistake::parameter(name, detail)]))
            }
        }
    }

    /// The value of `name`, `true` or `false`; false when it is not given.
    ///
    /// # Errors
    /// 400 when it is neither.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::query(vec![Mistake::parameter(name, "expected `true` or `false`")])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_given_once_and_within_their_bounds() {
        let check = |query: &str, expected: Option<(Option<usize>, bool)>| {
            let read = Query::read(query, &["limit", "erase"])
                .and_then(|query| Ok((query.number("limit", 1, 10)?, query.flag("erase")?)));
            assert_eq!(read.ok(), expected, "{query}");
        };
        check("", Some((None, false)));
        check("limit=10&erase=true", Some((Some(10), true)));
        check("&limit=1&", Some((Some(1), false)));
        for wrong in [
            "limit=0",
            "limit=11",
            "limit=+1",
            "limit=",
            "limit",
            "limit=1&limit=1",
            "x=1",
            "erase=1",
            "erase",
        ] {
            check(wrong, None);
        }
    }
}
