//! The model `auto`: the tenant's table of tiers, and which of its models may be used.

use crate::models::Models;
use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::settings::variable;
use waggle_model::tier::{AUTO, Choice, Question, Tier, TierTable, choose};
use waggle_openai::ApiError;

/// The variable with the table.
const VARIABLE: &str = "tiers";

/// The tiers of a tenant.
#[derive(Debug)]
pub(crate) struct Tiers {
    table: TierTable,
    /// Whether the tenant has a table of their own.
    pub(crate) configured: bool,
    small: bool,
    large: bool,
}

/// The models for a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picked<'t> {
    /// The model to ask.
    pub(crate) model: &'t str,
    /// The model to ask when that one fails or declines.
    pub(crate) next: Option<&'t str>,
    /// Why.
    pub(crate) choice: Choice,
}

impl Tiers {
    /// The table as it is configured; `models` says which of its models may be used.
    ///
    /// # Errors
    /// The variable cannot be read, or is no table; the log says what is wrong with it.
    pub(crate) async fn read<P: Platform>(platform: &P, models: &Models) -> Result<Self, Problem> {
        let text = variable(platform, VARIABLE).await?.unwrap_or_default();
        let wrong = |error| internal(format!("the variable '{VARIABLE}' cannot be used: {error}"));
        let table = TierTable::read(&text).map_err(wrong)?;
        let (small, large) = (models.allow(&table.small), models.allow(&table.large));
        Ok(Self { table, configured: !text.trim().is_empty(), small, large })
    }

    /// The models of the tiers that may be used.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &str> {
        let of = |allowed: bool, model| allowed.then_some(model);
        [of(self.small, self.table.small.as_str()), of(self.large, self.table.large.as_str())]
            .into_iter()
            .flatten()
    }

    /// The model of the small tier.
    pub(crate) fn small(&self) -> &str {
        &self.table.small
    }

    /// Picks the models for a question. A tier that may not be used is not chosen.
    ///
    /// # Errors
    /// 404: none may be used.
    pub(crate) fn pick(&self, question: &Question<'_>) -> Result<Picked<'_>, ApiError> {
        let wanted = choose(question, &self.table);
        let only = |tier| Choice { tier, reason: "only_allowed" };
        let choice = match (wanted.tier, self.small, self.large) {
            (Tier::Small, true, _) | (Tier::Large, _, true) => wanted,
            (_, true, false) => only(Tier::Small),
            (_, false, true) => only(Tier::Large),
            (_, _, _) => return Err(Models::unknown(AUTO)),
        };
        let (small, large) = (self.table.small.as_str(), self.table.large.as_str());
        Ok(match choice.tier {
            Tier::Small => {
                let next = (self.large && large != small).then_some(large);
                Picked { model: small, next, choice }
            }
            Tier::Large => Picked { model: large, next: None, choice },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &str, question: &str, expected: Option<(&str, Option<&str>, &str)>) {
        let models = Models::new(allowed);
        let table = TierTable::default();
        let (small, large) = (models.allow(&table.small), models.allow(&table.large));
        let tiers = Tiers { table, configured: false, small, large };
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{question}"}}]}}"#);
        let picked = tiers.pick(&Question::of_chat(body.as_bytes()));
        let picked = picked.as_ref().ok().map(|picked| (picked.model, picked.next, picked.choice.reason));
        assert_eq!(picked, expected, "{allowed} {question}");
    }

    #[test]
    fn a_tier_that_may_not_be_used_is_not_chosen() {
        check("*", "where is it", Some(("small", Some("large"), "simple")));
        check("*", "compare them", Some(("large", None, "keyword")));
        check("auto,small", "where is it", Some(("small", None, "simple")));
        check("auto,small", "compare them", Some(("small", None, "only_allowed")));
        check("auto,large", "where is it", Some(("large", None, "only_allowed")));
        check("auto,large", "compare them", Some(("large", None, "keyword")));
        check("auto", "where is it", None);
        check("auto,s*,l*", "where is it", Some(("small", Some("large"), "simple")));
    }
}
