//! Has questions answered ahead of those who ask them, so that the semantic answer cache holds the answers by then.

use crate::{Knowledge, KnowledgeError};
use futures::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::Cell;

/// How many questions are being answered at once.
const AT_ONCE: usize = 4;
/// The most questions that are asked ahead at once.
pub const QUESTIONS_MAX: usize = 1_000;
/// The most of the questions that are asked most that a server lists.
pub const FREQUENT_MAX: u32 = 100;
/// The pair of a turn's metadata that says that no user asks it, so that it does not count among what users ask.
const AHEAD_PAIR: &str = "waggle_ahead";

/// A question that users ask often.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FrequentQuestion {
    /// The question, as it was asked once.
    pub question: String,
    /// How often it is asked, about; what is long ago counts less.
    pub count: u64,
}

#[derive(Deserialize)]
struct FrequentList {
    data: Vec<FrequentQuestion>,
}

/// How questions are asked: as the clients do whose users are to get the answers, since an answer is kept for the same
/// model, instructions and vector stores alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// The ids of the vector stores, in the order in which clients name them. None: those of the tenant's variable
    /// `knowledge`.
    pub stores: Vec<String>,
    /// The model. `None`: the tenant's.
    pub model: Option<String>,
    /// The instructions. `None`: the tenant's.
    pub instructions: Option<String>,
}

/// A question that was not answered for want of a working server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedQuestion {
    /// The question.
    pub question: String,
    /// Why.
    pub reason: String,
}

/// What has become of the questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warmed {
    /// How many were answered now, by answers that can be kept.
    pub answered: usize,
    /// How many had an answer in the cache.
    pub there: usize,
    /// How many have none: nothing is known about them.
    pub unanswered: usize,
    /// How many were answered by what is never kept: it cites nothing, or is in the words of its sources.
    pub unkept: usize,
    /// The rest, in the order in which they were named.
    pub failed: Vec<FailedQuestion>,
}

/// What a response is.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    There,
    Unanswered,
    Unkept,
    Failed(String),
}

/// The questions of a text, one a line. Lines without words are passed over, and what is there twice is asked once.
///
/// # Errors
/// There are more than [`QUESTIONS_MAX`].
pub fn questions_of(text: &str) -> Result<Vec<String>, KnowledgeError> {
    let mut questions: Vec<String> = Vec::new();
    let text = text.trim_start_matches('\u{feff}');
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if questions.iter().any(|known| known == line) {
            continue;
        }
        if questions.len() == QUESTIONS_MAX {
            return Err(KnowledgeError::TooManyQuestions { questions_max: QUESTIONS_MAX });
        }
        questions.push(line.to_owned());
    }
    Ok(questions)
}

impl Asking {
    /// The body of a turn that asks `question` outside of any conversation.
    fn body(&self, question: &str) -> Value {
        let mut fields = vec![
            ("input", json!(question)),
            ("store", json!(false)),
            ("metadata", json!({ AHEAD_PAIR: "true" })),
        ];
        fields.extend(self.model.as_ref().map(|model| ("model", json!(model))));
        fields.extend(self.instructions.as_ref().map(|text| ("instructions", json!(text))));
        if !self.stores.is_empty() {
            let tool = json!({ "type": "file_search", "vector_store_ids": self.stores });
            fields.push(("tools", json!([tool])));
        }
        fields.into_iter().collect()
    }
}

/// Whether an answer cites something: only then is it kept.
fn cites(response: &Value) -> bool {
    fn elements(value: &Value) -> &[Value] {
        value.as_array().map(Vec::as_slice).unwrap_or_default()
    }
    let mut parts = elements(&response["output"]).iter().flat_map(|item| elements(&item["content"]));
    parts.any(|part| part["annotations"].as_array().is_some_and(|all| !all.is_empty()))
}

/// What a response is, by what the server says of it.
fn judge(response: &Value) -> Outcome {
    let metadata = &response["metadata"];
    if metadata["waggle_fallback"].is_string() {
        let reason = metadata["waggle_fallback_reason"].as_str().unwrap_or("the server does not say why");
        return Outcome::Failed(format!("no model answered: {reason}"));
    }
    match metadata["waggle_answer"].as_str() {
        Some("cached") => return Outcome::There,
        Some("extracted") => return Outcome::Unkept,
        Some(_nobody) => return Outcome::Unanswered,
        None => {}
    }
    match response["status"].as_str() {
        Some("completed") if cites(response) => Outcome::Answered,
        Some("completed") => Outcome::Unkept,
        status => Outcome::Failed(format!("its response is {}", status.unwrap_or("none of this API"))),
    }
}

impl Knowledge {
    /// The questions that users ask most, the most frequent first; `limit` from 1 to [`FREQUENT_MAX`].
    ///
    /// # Errors
    /// The server's; to a user it refuses them.
    pub async fn frequent_questions(&self, limit: u32) -> Result<Vec<FrequentQuestion>, KnowledgeError> {
        let list: FrequentList = self.get(&format!("/v1/retrieval/questions?limit={limit}")).await?;
        Ok(list.data)
    }

    /// Has questions answered that the answer cache has no answer to. `watch` is told how many are done.
    ///
    /// # Errors
    /// What concerns all questions alike: the server is not there, or refuses the caller. What concerns one is in
    /// [`Warmed::failed`].
    pub async fn warm(
        &self,
        questions: &[String],
        asking: &Asking,
        watch: &dyn Fn(usize),
    ) -> Result<Warmed, KnowledgeError> {
        let done = Cell::new(0);
        watch(0);
        let asked = questions.iter().map(|question| {
            let done = &done;
            async move {
                let outcome = self.ask_ahead(question, asking).await;
                done.set(done.get() + 1);
                watch(done.get());
                (question, outcome)
            }
        });
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        let mut warmed = Warmed::default();
        while let Some((question, outcome)) = asked.next().await {
            let reason = match outcome {
                Ok(Outcome::Failed(reason)) => reason,
                Ok(outcome) => {
                    warmed.count(&outcome);
                    continue;
                }
                Err(error) if error.is_of_all() => return Err(error),
                Err(error) => error.to_string(),
            };
            warmed.failed.push(FailedQuestion { question: question.clone(), reason });
        }
        Ok(warmed)
    }

    async fn ask_ahead(&self, question: &str, asking: &Asking) -> Result<Outcome, KnowledgeError> {
        let response: Value = self.post("/v1/responses", &asking.body(question)).await?;
        Ok(judge(&response))
    }
}

impl Warmed {
    /// Counts what has not failed.
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::There => self.there += 1,
            Outcome::Unanswered => self.unanswered += 1,
            Outcome::Unkept => self.unkept += 1,
            Outcome::Failed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_line() {
        let questions = questions_of("\u{feff}How much?\r\n\n  Where?  \nHow much?\n").unwrap();
        assert_eq!(questions, ["How much?", "Where?"]);
        assert_eq!(questions_of(" \n").unwrap(), [""; 0]);
        let lines = |count: usize| (0..count).map(|number| format!("{number}?\n")).collect::<String>();
        assert_eq!(questions_of(&lines(QUESTIONS_MAX)).unwrap().len(), QUESTIONS_MAX);
        let error = questions_of(&lines(QUESTIONS_MAX + 1)).unwrap_err();
        assert!(matches!(error, KnowledgeError::TooManyQuestions { .. }));
    }

    #[test]
    fn a_turn_asks_as_clients_do() {
        let plain = json!({"input": "q", "store": false, "metadata": {"waggle_ahead": "true"}});
        assert_eq!(Asking::default().body("q"), plain);
        let asking = Asking {
            stores: vec!["vs_1".to_owned(), "vs_2".to_owned()],
            model: Some("m".to_owned()),
            instructions: Some("Be kind.".to_owned()),
        };
        let mut whole = plain;
        whole["model"] = json!("m");
        whole["instructions"] = json!("Be kind.");
        whole["tools"] = json!([{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]);
        assert_eq!(asking.body("q"), whole);
    }

    #[test]
    fn a_response_says_what_its_answer_is() {
        let check = |response: Value, expected: Outcome| assert_eq!(judge(&response), expected, "{response}");
        let said = |annotations: Value| {
            let part = json!({"type": "output_text", "text": "t", "annotations": annotations});
            let output = [json!({"type": "file_search_call"}), json!({"type": "message", "content": [part]})];
            json!({"status": "completed", "metadata": {}, "output": output})
        };
        let known =
            |what: &str| json!({"status": "completed", "metadata": {"waggle_answer": what}, "output": []});
        check(said(json!([{"type": "file_citation"}])), Outcome::Answered);
        check(said(json!([])), Outcome::Unkept);
        check(known("cached"), Outcome::There);
        check(known("extracted"), Outcome::Unkept);
        check(known("none"), Outcome::Unanswered);
        check(known("handover"), Outcome::Unanswered);
        let incomplete = Outcome::Failed("its response is incomplete".to_owned());
        check(json!({"status": "incomplete", "metadata": {}}), incomplete);
        check(json!([]), Outcome::Failed("its response is none of this API".to_owned()));
        let fallback = json!({"waggle_fallback": "true", "waggle_fallback_reason": "timeout"});
        let reason = Outcome::Failed("no model answered: timeout".to_owned());
        check(json!({"status": "completed", "metadata": fallback}), reason);
    }
}
