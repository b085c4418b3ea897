//! Tiered routing: whether the small model will do for a question, or the large one is needed.
//!
//! A decision without a model, in microseconds, from what can be seen of the request: its length, script, history,
//! words, tools and form. It errs to the large side where a wrong answer would cost more than a better one.

mod keywords;
mod question;
mod table;
mod words;

pub use question::Question;
pub use table::{TierTable, TierTableError};

use words::Words;

/// The model name that stands for a choice between the tiers.
pub const AUTO: &str = "auto";

/// The most characters of a question whose words are looked at. A longer one is long by any table.
const WORDS_CHARACTERS_MAX: usize = 4000;
/// So many question marks make a question of several parts.
const QUESTION_MARKS_MIN: usize = 3;

/// One of the two models a tenant has for `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// For simple questions.
    Small,
    /// For hard ones.
    Large,
}

impl Tier {
    /// Its name, as in a response's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

/// What was decided, and why: one of a fixed set of words, for metadata and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The tier.
    pub tier: Tier,
    /// Why: `tenant_keyword`, `effort`, `image`, `structured_output`, `greeting`, `tools`, `length`, `history`, `code`,
    /// `keyword`, `several_questions`, `simple` or `unreadable`.
    pub reason: &'static str,
}

impl Choice {
    const fn small(reason: &'static str) -> Self {
        Self { tier: Tier::Small, reason }
    }

    const fn large(reason: &'static str) -> Self {
        Self { tier: Tier::Large, reason }
    }
}

/// Chooses a tier for a question. The first rule that applies decides:
///
/// 1. the tenant's own words: `large_keywords`, then `small_keywords`;
/// 2. what the request says of itself: its reasoning effort (`none`, `minimal`, `low`: small; `high`, `xhigh`: large),
///    an image, a JSON schema for the answer;
/// 3. nothing but a greeting or thanks: small, whatever tools are at hand;
/// 4. tools, or their outputs: large;
/// 5. more than `large_over_tokens` (half of it in a script whose words this table does not know), or more than
///    `large_over_items` items before it: large;
/// 6. code in it, a word of the table (`analyse`, `compare`, `合同`, …), three question marks: large;
/// 7. else small.
pub fn choose(question: &Question<'_>, table: &TierTable) -> Choice {
    if question.unreadable {
        return Choice::large("unreadable");
    }
    let words = Words::new(question.texts(), WORDS_CHARACTERS_MAX);
    by_tenant(&words, table)
        .or_else(|| by_request(question))
        .or_else(|| words.is_greeting().then_some(Choice::small("greeting")))
        .or_else(|| question.tools.then_some(Choice::large("tools")))
        .or_else(|| by_size(question, &words, table))
        .or_else(|| by_words(question, &words, table))
        .unwrap_or(Choice::small("simple"))
}

fn by_tenant(words: &Words, table: &TierTable) -> Option<Choice> {
    const REASON: &str = "tenant_keyword";
    let holds = |keywords: &[String]| keywords.iter().any(|keyword| words.hold(keyword));
    if holds(&table.large_keywords) {
        return Some(Choice::large(REASON));
    }
    holds(&table.small_keywords).then_some(Choice::small(REASON))
}

fn by_request(question: &Question<'_>) -> Option<Choice> {
    match question.effort.as_deref() {
        Some("none" | "minimal" | "low") => return Some(Choice::small("effort")),
        Some("high" | "xhigh") => return Some(Choice::large("effort")),
        _ => {}
    }
    if question.image {
        return Some(Choice::large("image"));
    }
    question.schema.then_some(Choice::large("structured_output"))
}

fn by_size(question: &Question<'_>, words: &Words, table: &TierTable) -> Option<Choice> {
    let tokens_max =
        if words.are_known() { table.large_over_tokens } else { table.large_over_tokens.div_ceil(2) };
    if question.tokens() > tokens_max {
        return Some(Choice::large("length"));
    }
    (question.history_items > table.large_over_items).then_some(Choice::large("history"))
}

fn by_words(question: &Question<'_>, words: &Words, table: &TierTable) -> Option<Choice> {
    if question.texts().any(words::looks_like_code) {
        return Some(Choice::large("code"));
    }
    if table.builtin_keywords && words.are_hard() {
        return Some(Choice::large("keyword"));
    }
    (words.question_marks() >= QUESTION_MARKS_MIN).then_some(Choice::large("several_questions"))
}

#[cfg(test)]
mod tests;
