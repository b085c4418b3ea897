//! An answer without a model: the sentences of the sources that say most of what was asked, quoted, each with its number.

mod sentence;

use crate::prompt::plain;
use crate::words::terms;
use sentence::{Sentence, sentences};
use std::collections::{HashMap, HashSet};

/// The most passages that are looked at.
const PASSAGES_MAX: usize = 5;
/// The most sentences of an answer.
const QUOTED_MAX: usize = 3;
/// A sentence is quoted beside the best one if it says so much of what that one does.
const NEAR_THE_BEST: f32 = 0.7;
/// So much of what was asked must be in the sources, where nothing else says that they hold the answer.
const COVERED_MIN: f32 = 0.34;
/// What the headings of a passage say counts half of what its sentences say.
const HEADING_WEIGHT: f32 = 0.5;

/// A passage that may be quoted. Its number is its place among them, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage<'a> {
    /// The headings it stands under.
    pub heading: &'a str,
    /// The text.
    pub text: &'a str,
}

/// A sentence that may be quoted.
struct Candidate {
    passage: usize,
    place: usize,
    text: String,
    /// How much of what was asked it says, from 0 to 1.
    covered: f32,
}

/// What each term of the question is worth: the rarer in the sentences, the more.
fn weights(asked: &HashSet<String>, all: &[HashSet<String>]) -> HashMap<String, f32> {
    let sentences = all.len() as f32;
    let weight = |term: &String| {
        let holding = all.iter().filter(|terms| terms.contains(term)).count() as f32;
        (1.0 + sentences / (1.0 + holding)).ln()
    };
    asked.iter().map(|term| (term.clone(), weight(term))).collect()
}

fn covered(weights: &HashMap<String, f32>, said: &HashSet<String>, heading: &HashSet<String>) -> f32 {
    let total: f32 = weights.values().sum();
    let share = |(term, weight): (&String, &f32)| match (said.contains(term), heading.contains(term)) {
        (true, _) => *weight,
        (false, true) => weight * HEADING_WEIGHT,
        (false, false) => 0.0,
    };
    if total > 0.0 { weights.iter().map(share).sum::<f32>() / total } else { 0.0 }
}

fn candidates(question: &str, passages: &[Passage<'_>]) -> Vec<Candidate> {
    let asked = terms(question);
    let split: Vec<Vec<Sentence<'_>>> =
        passages.iter().take(PASSAGES_MAX).map(|passage| sentences(passage.text)).collect();
    let said: Vec<HashSet<String>> = split.iter().flatten().map(|sentence| terms(sentence.text)).collect();
    let weights = weights(&asked, &said);
    let mut said = said.iter();
    let mut candidates = Vec::new();
    for (number, (passage, sentences)) in passages.iter().zip(&split).enumerate() {
        let heading = terms(passage.heading);
        // What a question in a source asks, the sentence behind it answers.
        let mut answers: f32 = 0.0;
        for (place, (sentence, said)) in sentences.iter().zip(&mut said).enumerate() {
            let own = covered(&weights, said, &heading);
            if sentence.asks {
                answers = answers.max(own);
                continue;
            }
            let covered = own.max(std::mem::take(&mut answers));
            candidates.push(Candidate { passage: number, place, text: sentence.shown(), covered });
        }
    }
    candidates
}

fn write(mut quoted: Vec<Candidate>) -> String {
    quoted.sort_by_key(|quote| (quote.passage, quote.place));
    let mut text = String::new();
    let mut last = None;
    for Candidate { passage, text: sentence, .. } in &quoted {
        if let Some(last) = last {
            text.push(if last == passage { ' ' } else { '\n' });
        }
        last = Some(passage);
        text.push_str(&format!("{} [{}]", plain(sentence), passage + 1));
    }
    text
}

/// Quotes the one to three sentences that say most of what is asked, each followed by the number of its passage.
///
/// `must_cover` is for passages that were found by their words alone, where nothing says whether they are about the question:
/// they must say a third of what it asks. Else the first passage is quoted when none shares a word with the question: it
/// was found by its meaning.
///
/// `None`: there is nothing to quote.
pub fn extract_answer(question: &str, passages: &[Passage<'_>], must_cover: bool) -> Option<String> {
    let mut candidates = candidates(question, passages);
    candidates.sort_by(|one, other| {
        other
            .covered
            .total_cmp(&one.covered)
            .then((one.passage, one.place).cmp(&(other.passage, other.place)))
    });
    let best = candidates.first()?.covered;
    if must_cover && best < COVERED_MIN {
        return None;
    }
    if best <= 0.0 {
        candidates.retain(|candidate| candidate.passage == 0);
        candidates.truncate(1);
    }
    let is_near = |candidate: &Candidate| candidate.covered >= best * NEAR_THE_BEST;
    let mut seen = HashSet::new();
    let quoted =
        candidates.into_iter().filter(is_near).filter(|candidate| seen.insert(candidate.text.clone()));
    let quoted: Vec<Candidate> = quoted.take(QUOTED_MAX).collect();
    (!quoted.is_empty()).then(|| write(quoted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(question: &str, passages: &[&str], must_cover: bool, expected: Option<&str>) {
        let passages: Vec<Passage<'_>> = passages.iter().map(|text| Passage { heading: "", text }).collect();
        assert_eq!(extract_answer(question, &passages, must_cover).as_deref(), expected, "{question}");
    }

    #[test]
    fn the_sentences_that_answer_are_quoted_with_their_numbers() {
        let card = "The blue card is new. The blue card costs 5 euros a month. It has no limit.";
        let hours = "Our office opens at 9. On Sundays it is closed.";
        check(
            "What does the blue card cost?",
            &[hours, card],
            true,
            Some("The blue card costs 5 euros a month. [2]"),
        );
        check("When does the office open?", &[hours, card], true, Some("Our office opens at 9. [1]"));
        check(
            "重置密码在哪里?",
            &["请在设置页面点击重置密码。其他问题请致电。"],
            true,
            Some("请在设置页面点击重置密码。 [1]"),
        );
    }

    #[test]
    fn the_answer_to_a_question_in_the_source_is_quoted_not_the_question() {
        let text = "How do I reset my password? Click the link in the mail. What else?";
        check("how to reset a password", &[text], true, Some("Click the link in the mail. [1]"));
    }

    #[test]
    fn what_the_sources_do_not_say_is_not_answered() {
        let hours = "Our office opens at 9. On Sundays it is closed.";
        check("What does the blue card cost?", &[hours], true, None);
        check("What does the blue card cost?", &[hours], false, Some("Our office opens at 9. [1]"));
        check("x", &[], false, None);
        check("x", &["Really? Why?"], false, None);
    }

    #[test]
    fn headings_count() {
        let passages = [
            Passage { heading: "Red card > Fees", text: "It costs 5 euros." },
            Passage { heading: "Blue card > Fees", text: "It costs 7 euros." },
        ];
        let answer = extract_answer("What does the blue card cost?", &passages, true);
        assert!(answer.as_deref().is_some_and(|answer| answer.contains("7 euros. [2]")), "{answer:?}");
    }

    #[test]
    fn a_quote_holds_no_numbers_of_its_own() {
        check("blue card", &["The blue card is new [7]."], true, Some("The blue card is new (7). [1]"));
    }

    proptest! {
        #[test]
        fn an_answer_is_quoted_from_its_sources(
            question in "[a-e ?]{0,30}",
            texts in prop::collection::vec("[a-e .?!\n]{0,80}", 0..5),
        ) {
            let passages: Vec<Passage<'_>> = texts.iter().map(|text| Passage { heading: "", text }).collect();
            if let Some(answer) = extract_answer(&question, &passages, false) {
                let quotes: Vec<&str> = answer.split(']').filter(|quote| !quote.is_empty()).collect();
                prop_assert!(!quotes.is_empty() && quotes.len() <= QUOTED_MAX);
                for quote in quotes {
                    let (text, number) = quote.trim_start().rsplit_once(" [").unwrap();
                    let passage: usize = number.parse().unwrap();
                    prop_assert!(texts[passage - 1].contains(text), "{} in {:?}", text, texts);
                }
            }
        }
    }
}
