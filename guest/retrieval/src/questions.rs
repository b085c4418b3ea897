//! `GET /v1/retrieval/questions`: what is asked most, so that it can be answered ahead. For services alone: it is what all
//! users ask, in their own words.

use crate::problem::Problem;
use crate::query::PageQuery;
use crate::service::Service;
use serde::Serialize;
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{ApiError, json};
use waggle_platform::{Platform, Reply};
use waggle_search::answer_cache::FrequentQuestion;

#[derive(Serialize)]
struct Listed {
    object: &'static str,
    question: String,
    count: u64,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Listed>,
    has_more: bool,
}

/// The first `limit` of `found`, as a list object.
fn list_json(mut found: Vec<FrequentQuestion>, limit: usize) -> Vec<u8> {
    let has_more = found.len() > limit;
    found.truncate(limit);
    let listed =
        |FrequentQuestion { question, count }| Listed { object: "frequent_question", question, count };
    let list = List { object: "list", data: found.into_iter().map(listed).collect(), has_more };
    let mut out = Vec::with_capacity(128 + 128 * list.data.len());
    json::push(&mut out, &list);
    out
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// The questions that are asked most, the most frequent first.
    ///
    /// # Errors
    /// 403: the caller is a user; 400: `limit` is not from 1 to 100.
    pub(crate) async fn list_questions(&self, viewer: &Viewer, query: &str) -> Result<Reply, Problem> {
        if !viewer.is_service() {
            let message = "What is asked most is for the tenant's services, not for its users.";
            return Err(ApiError::not_a_service(message).into());
        }
        let limit = PageQuery::read(query)?.limit;
        let settings = self.search_settings().await?;
        // One more than is wanted says whether there are more.
        let found = self.searcher(&settings).frequent(limit + 1).await?;
        Ok(Reply::json(list_json(found, limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_list_says_whether_there_are_more() {
        let found = |count: u64| FrequentQuestion { question: format!("How {count}?"), count };
        let check = |limit: usize, expected: &[u64], has_more: bool| {
            let list: Value = serde_json::from_slice(&list_json(vec![found(2), found(1)], limit)).unwrap();
            let data = expected.iter().map(|count| {
                json!({"object": "frequent_question", "question": format!("How {count}?"), "count": count})
            });
            let data: Vec<Value> = data.collect();
            assert_eq!(list, json!({"object": "list", "data": data, "has_more": has_more}), "{limit}");
        };
        check(1, &[2], true);
        check(2, &[2, 1], false);
    }
}
