//! Stored responses: read, delete, list the input of.

use crate::background::is_over;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::Service;
use waggle_conversation::items::page_of;
use waggle_conversation::{Store, Viewer, background, response};
use waggle_model::transport::Upstream;
use waggle_openai::list::{PageQuery, to_json};
use waggle_openai::{ApiError, ResponseId, conversation};

pub(crate) fn not_found(id: ResponseId) -> Problem {
    ApiError::not_found("Response", &id.to_string()).into()
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn get_response(&self, viewer: &Viewer, id: ResponseId) -> Result<Reply, Problem> {
        let mut object = response::object(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        if !is_over(&object) {
            self.end_abandoned(viewer, id).await?;
            object = response::object(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        }
        Ok(Reply::json(String::from(Box::<str>::from(object)).into_bytes()))
    }

    pub(crate) async fn delete_response(&self, viewer: &Viewer, id: ResponseId) -> Result<Reply, Problem> {
        if !response::delete(&self.store, viewer, id.0).await? {
            return Err(not_found(id));
        }
        if background::state(&self.store, id.0).await?.is_some() {
            background::remove(&self.store, id.0).await?;
        }
        Ok(Reply::json(conversation::deleted_json(id, "response")))
    }

    pub(crate) async fn list_input_items(
        &self,
        viewer: &Viewer,
        id: ResponseId,
        query: &str,
    ) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let input = response::input(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        let page = page_of(input, query)?;
        Ok(Reply::json(to_json(&page.items, page.has_more)))
    }
}
