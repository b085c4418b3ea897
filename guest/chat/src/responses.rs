//! Stored responses: read, delete, list the input of.

use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::Service;
use waggle_conversation::items::page_of;
use waggle_conversation::record::{ResponseObject, read};
use waggle_conversation::{Store, key, response};
use waggle_model::transport::Upstream;
use waggle_openai::list::{PageQuery, to_json};
use waggle_openai::{ApiError, ResponseId, conversation};

fn not_found(id: ResponseId) -> Problem {
    ApiError::not_found("Response", &id.to_string()).into()
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn get_response(&self, id: ResponseId) -> Result<Reply, Problem> {
        let value = response::get(&self.store, id.0).await?.ok_or_else(|| not_found(id))?;
        let object: ResponseObject<'_> = read(&key::response(id.0), &value)?;
        Ok(Reply::json(object.response.get().as_bytes().to_vec()))
    }

    pub(crate) async fn delete_response(&self, id: ResponseId) -> Result<Reply, Problem> {
        if !response::delete(&self.store, id.0).await? {
            return Err(not_found(id));
        }
        Ok(Reply::json(conversation::deleted_json(id, "response")))
    }

    pub(crate) async fn list_input_items(&self, id: ResponseId, query: &str) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let value = response::get(&self.store, id.0).await?.ok_or_else(|| not_found(id))?;
        let object: ResponseObject<'_> = read(&key::response(id.0), &value)?;
        let page = page_of(object.input, query)?;
        Ok(Reply::json(to_json(&page.items, page.has_more)))
    }
}
