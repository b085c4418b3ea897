//! Searches: of one vector store as OpenAI has it, of several for other functions, and as Dify asks. What is searched, and
//! how it is answered, is `waggle-search`'s; here is whose vector stores they are.

use crate::attributes::{EXPIRES_AT, RESERVED_PREFIX};
use crate::ingest::index_name;
use crate::pipeline::model_of;
use crate::problem::Problem;
use crate::record::StoreRecord;
use crate::service::{Beside, Service};
use waggle_conversation::{Store, Viewer};
use waggle_index::{Comparison, FilterNode, Index, Value};
use waggle_model::transport::Upstream;
use waggle_openai::{ApiError, VectorStoreId};
use waggle_platform::{Platform, Reply};
use waggle_search::dify::{self, Retrieval};
use waggle_search::search::NamesFromNotes;
use waggle_search::wire::{AnswerBody, SearchBody, SearchBodyKind, retrieval_page, search_page};
use waggle_search::{Found, SearchRequest, SearchSettings, Searched, Searcher};

/// How exactly the time is told to an index that leaves out what has expired, in seconds: answers that are kept belong to a
/// search, and so to its time.
const EXPIRY_S: u64 = 60;

/// Vector stores that are searched together.
struct Together {
    indexes: Vec<Searched>,
    /// Whether files in them expire.
    expiring: bool,
}

/// Leaves out files that have expired.
fn leave_out_expired(filter: &mut Vec<FilterNode>, now_s: u64) {
    let root = filter.len().checked_sub(1).and_then(|root| u32::try_from(root).ok());
    let now = now_s - now_s % EXPIRY_S;
    filter.push(FilterNode::Compare {
        attribute: EXPIRES_AT.to_owned(),
        comparison: Comparison::Greater,
        values: vec![Value::Number(now as f64)],
    });
    if let Some(root) = root {
        filter.push(FilterNode::All(vec![root, root + 1]));
    }
}

/// Leaves out of results what only this function knows.
fn without_reserved(results: &mut [Found]) {
    for found in results {
        found.attributes.retain(|(name, _)| !name.starts_with(RESERVED_PREFIX));
    }
}

/// The answer to Dify for a request that is not served.
pub(crate) fn dify_refusal<P: Platform>(platform: &P, problem: &Problem) -> Reply {
    if let Some(line) = &problem.log {
        platform.log(&format!("status={} {line}", problem.error.status));
    }
    Reply { status: problem.error.status, ..Reply::json(dify::refusal_of(&problem.error)) }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    pub(crate) fn searcher<'a>(&'a self, settings: &'a SearchSettings) -> Searcher<'a, S, I, U, P> {
        Searcher::new(&self.store, &self.index, &self.upstream, &self.platform, settings)
    }

    /// The indexes of vector stores that the viewer may search.
    ///
    /// # Errors
    /// 404: one is not there for the viewer; 400: one has expired.
    async fn together(
        &self,
        viewer: &Viewer,
        ids: &[String],
        settings: &SearchSettings,
        beside: &mut Beside,
    ) -> Result<Together, Problem> {
        let mut together = Together { indexes: Vec::with_capacity(ids.len()), expiring: false };
        for name in ids {
            let id = VectorStoreId::parse(name).ok_or_else(|| ApiError::not_found("Vector store", name))?;
            let record: StoreRecord = self.open_store(viewer, id).await?;
            self.touch_store(id, &record).await?;
            self.look_at_model(id, &record, settings, beside).await;
            let Some(embedding) = &record.embedding else { continue };
            let index = index_name(id, embedding.generation);
            if together.indexes.iter().any(|searched| searched.index == index) {
                continue;
            }
            together.expiring |= record.expiring;
            together.indexes.push(Searched { store: id.to_string(), index, embedding: model_of(embedding) });
        }
        Ok(together)
    }

    fn prepare(&self, request: &mut SearchRequest, together: &Together) {
        if together.expiring {
            leave_out_expired(&mut request.filter, self.now_s());
        }
    }

    pub(crate) async fn search_store(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let body = SearchBody::read(body, SearchBodyKind::VectorStore)?;
        let settings = self.search_settings().await?;
        let together = self.together(viewer, &[id.to_string()], &settings, beside).await?;
        let mut request = body.in_indexes(together.indexes.clone()).search;
        self.prepare(&mut request, &together);
        let mut answer = self.searcher(&settings).search(&NamesFromNotes, &request).await?;
        without_reserved(&mut answer.results);
        Ok(Reply::json(search_page(&answer)))
    }

    pub(crate) async fn retrieve(
        &self,
        viewer: &Viewer,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let body = SearchBody::read(body, SearchBodyKind::Retrieval)?;
        if body.vector_store_ids.is_empty() {
            return Err(ApiError::missing("vector_store_ids").into());
        }
        let settings = self.search_settings().await?;
        let together = self.together(viewer, &body.vector_store_ids, &settings, beside).await?;
        let mut request = body.in_indexes(together.indexes.clone());
        self.prepare(&mut request.search, &together);
        let mut retrieved = self.searcher(&settings).retrieve(&NamesFromNotes, &request).await?;
        without_reserved(&mut retrieved.answer.results);
        Ok(Reply::json(retrieval_page(&retrieved)))
    }

    /// Keeps an answer for questions like its own, or not: whoever sends it has nothing to do about that.
    pub(crate) async fn keep_answer(&self, _viewer: &Viewer, body: &[u8]) -> Result<Reply, Problem> {
        let AnswerBody { answer_key, text, sources } = AnswerBody::read(body)?;
        let settings = self.search_settings().await?;
        self.searcher(&settings).keep_answer(&answer_key, &text, sources).await?;
        Ok(Reply { status: 204, headers: Vec::new(), body: Vec::new() })
    }

    pub(crate) async fn dify(
        &self,
        viewer: &Viewer,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let asked = Retrieval::read(body)?;
        let id = VectorStoreId::parse(&asked.knowledge_id);
        let id = id.ok_or_else(|| ApiError::not_found("Vector store", &asked.knowledge_id))?;
        let settings = self.search_settings().await?;
        let together = self.together(viewer, &[id.to_string()], &settings, beside).await?;
        let mut request = asked.in_indexes(together.indexes.clone());
        self.prepare(&mut request, &together);
        let mut answer = self.searcher(&settings).search(&NamesFromNotes, &request).await?;
        without_reserved(&mut answer.results);
        Ok(Reply::json(dify::records(&answer.results)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_left_out_besides_what_is_asked_for() {
        let mut filter = Vec::new();
        leave_out_expired(&mut filter, 125);
        let expired = filter.clone();
        assert!(
            matches!(&filter[..], [FilterNode::Compare { values, .. }] if *values == [Value::Number(120.0)])
        );
        let mut filter = vec![FilterNode::Any(Vec::new())];
        leave_out_expired(&mut filter, 125);
        assert_eq!(filter[1..], [expired[0].clone(), FilterNode::All(vec![0, 1])]);
    }
}
