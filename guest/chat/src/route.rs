//! Which endpoint a method and a path mean. Nothing a client puts into a path goes further than this file unless it
//! has the form of one of our ids.

use waggle_openai::{ApiError, ConversationId, ItemId, ResponseId};

/// The longest model name in a path, in bytes.
const MODEL_BYTES_MAX: usize = 256;

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/responses`
    CreateResponse,
    /// `GET /v1/responses/{id}`
    GetResponse(ResponseId),
    /// `DELETE /v1/responses/{id}`
    DeleteResponse(ResponseId),
    /// `GET /v1/responses/{id}/input_items`
    ListInputItems(ResponseId),
    /// `POST /v1/conversations`
    CreateConversation,
    /// `GET /v1/conversations/{id}`
    GetConversation(ConversationId),
    /// `POST /v1/conversations/{id}`
    UpdateConversation(ConversationId),
    /// `DELETE /v1/conversations/{id}`
    DeleteConversation(ConversationId),
    /// `GET /v1/conversations/{id}/items`
    ListItems(ConversationId),
    /// `POST /v1/conversations/{id}/items`
    AddItems(ConversationId),
    /// `GET /v1/conversations/{id}/items/{item}`
    GetItem(ConversationId, ItemId),
    /// `DELETE /v1/conversations/{id}/items/{item}`
    DeleteItem(ConversationId, ItemId),
    /// `POST /v1/chat/completions`
    CreateChatCompletion,
    /// `GET /v1/models`
    ListModels,
    /// `GET /v1/models/{name}`, the name as it was written
    GetModel(String),
}

impl Route {
    /// Whether the request has a body.
    pub fn has_body(&self) -> bool {
        matches!(
            self,
            Self::CreateResponse
                | Self::CreateConversation
                | Self::UpdateConversation(_)
                | Self::AddItems(_)
                | Self::CreateChatCompletion
        )
    }

    /// Finds the endpoint for a method and a path, without its query.
    ///
    /// # Errors
    /// 404: no such path, or an id in it is none of ours; 405: the path has other methods.
    pub fn find(method: &str, path: &str) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown_url(method, path);
        let rest = path.strip_prefix("/v1/").ok_or_else(unknown)?;
        let not_allowed = |allow| Err(ApiError::method_not_allowed(method, allow));
        // No path has more parts than five; a model's name alone may hold slashes.
        let mut parts = rest.splitn(5, '/');
        let parts = [(); 5].map(|()| parts.next());
        match parts {
            [Some("responses"), None, ..] => match method {
                "POST" => Ok(Self::CreateResponse),
                _ => not_allowed("POST"),
            },
            [Some("responses"), Some(id), None, ..] => match method {
                "GET" => Ok(Self::GetResponse(response(id)?)),
                "DELETE" => Ok(Self::DeleteResponse(response(id)?)),
                _ => not_allowed("GET, DELETE"),
            },
            [Some("responses"), Some(id), Some("input_items"), None, _] => match method {
                "GET" => Ok(Self::ListInputItems(response(id)?)),
                _ => not_allowed("GET"),
            },
            [Some("conversations"), rest @ ..] => Self::find_conversation(method, rest, unknown),
            [Some("chat"), Some("completions"), None, ..] => match method {
                "POST" => Ok(Self::CreateChatCompletion),
                _ => not_allowed("POST"),
            },
            [Some("models"), None, ..] => match method {
                "GET" => Ok(Self::ListModels),
                _ => not_allowed("GET"),
            },
            [Some("models"), Some(_), ..] => match method {
                "GET" => Ok(Self::GetModel(model(rest.strip_prefix("models/").unwrap_or_default())?)),
                _ => not_allowed("GET"),
            },
            _ => Err(unknown()),
        }
    }

    fn find_conversation(
        method: &str,
        parts: [Option<&str>; 4],
        unknown: impl Fn() -> ApiError,
    ) -> Result<Self, ApiError> {
        let not_allowed = |allow| Err(ApiError::method_not_allowed(method, allow));
        match parts {
            [None, ..] => match method {
                "POST" => Ok(Self::CreateConversation),
                _ => not_allowed("POST"),
            },
            [Some(id), None, ..] => match method {
                "GET" => Ok(Self::GetConversation(conversation(id)?)),
                "POST" => Ok(Self::UpdateConversation(conversation(id)?)),
                "DELETE" => Ok(Self::DeleteConversation(conversation(id)?)),
                _ => not_allowed("GET, POST, DELETE"),
            },
            [Some(id), Some("items"), None, _] => match method {
                "GET" => Ok(Self::ListItems(conversation(id)?)),
                "POST" => Ok(Self::AddItems(conversation(id)?)),
                _ => not_allowed("GET, POST"),
            },
            [Some(id), Some("items"), Some(item_id), None] => match method {
                "GET" => Ok(Self::GetItem(conversation(id)?, item(item_id)?)),
                "DELETE" => Ok(Self::DeleteItem(conversation(id)?, item(item_id)?)),
                _ => not_allowed("GET, DELETE"),
            },
            _ => Err(unknown()),
        }
    }
}

// Our ids hold nothing that is ever percent-encoded, so what is encoded is not one of them.

fn response(id: &str) -> Result<ResponseId, ApiError> {
    ResponseId::parse(id).ok_or_else(|| ApiError::not_found("Response", id))
}

fn conversation(id: &str) -> Result<ConversationId, ApiError> {
    ConversationId::parse(id).ok_or_else(|| ApiError::not_found("Conversation", id))
}

fn item(id: &str) -> Result<ItemId, ApiError> {
    ItemId::parse(id).ok_or_else(|| ApiError::not_found("Item", id))
}

/// A model's name goes on to the endpoint as it was written, so it must not be able to mean another path there.
fn model(name: &str) -> Result<String, ApiError> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'@' | b'+' | b'.');
    let part_is_fine = |part: &str| {
        // The slash and the colon are the only encoded characters that names of models hold.
        let part = part.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%3a", ":");
        part.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain))
    };
    if name.len() <= MODEL_BYTES_MAX && name.split('/').all(part_is_fine) {
        return Ok(name.to_owned());
    }
    Err(ApiError { code: Some("model_not_found"), ..ApiError::not_found("Model", name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_openai::Nonce;

    fn check(method: &str, path: &str, status: u16, allow: Option<&str>) {
        let error = Route::find(method, path).unwrap_err();
        assert_eq!((error.status, error.allow), (status, allow), "{method} {path}");
    }

    #[test]
    fn every_endpoint_is_found() {
        let nonce = Nonce::mint(3, 4);
        let (response, conversation) = (ResponseId(nonce), ConversationId(nonce));
        let item = ItemId { kind: waggle_openai::id::ItemKind::Message, nonce, index: 0 };
        for (method, path, route) in [
            ("POST", "/v1/responses".to_owned(), Route::CreateResponse),
            ("GET", format!("/v1/responses/{response}"), Route::GetResponse(response)),
            ("DELETE", format!("/v1/responses/{response}"), Route::DeleteResponse(response)),
            ("GET", format!("/v1/responses/{response}/input_items"), Route::ListInputItems(response)),
            ("POST", "/v1/conversations".to_owned(), Route::CreateConversation),
            ("GET", format!("/v1/conversations/{conversation}"), Route::GetConversation(conversation)),
            ("POST", format!("/v1/conversations/{conversation}"), Route::UpdateConversation(conversation)),
            ("DELETE", format!("/v1/conversations/{conversation}"), Route::DeleteConversation(conversation)),
            ("GET", format!("/v1/conversations/{conversation}/items"), Route::ListItems(conversation)),
            ("POST", format!("/v1/conversations/{conversation}/items"), Route::AddItems(conversation)),
            (
                "GET",
                format!("/v1/conversations/{conversation}/items/{item}"),
                Route::GetItem(conversation, item),
            ),
            (
                "DELETE",
                format!("/v1/conversations/{conversation}/items/{item}"),
                Route::DeleteItem(conversation, item),
            ),
            ("POST", "/v1/chat/completions".to_owned(), Route::CreateChatCompletion),
            ("GET", "/v1/models".to_owned(), Route::ListModels),
            ("GET", "/v1/models/org/name:7b".to_owned(), Route::GetModel("org/name:7b".to_owned())),
            ("GET", "/v1/models/org%2Fname".to_owned(), Route::GetModel("org%2Fname".to_owned())),
        ] {
            assert_eq!(Route::find(method, &path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        for path in
            ["/", "", "/v1", "/v1/", "/v2/responses", "/v1/embeddings", "/v1/chat", "/v1/chat/completions/"]
        {
            check("GET", path, 404, None);
        }
        check("GET", "/v1/responses", 405, Some("POST"));
        check("PATCH", "/v1/conversations", 405, Some("POST"));
        check("PUT", "/v1/conversations/x", 405, Some("GET, POST, DELETE"));
        check("DELETE", "/v1/models", 405, Some("GET"));
        check("BREW", "/v1/chat/completions", 405, Some("POST"));
    }

    #[test]
    fn hostile_ids_are_not_found() {
        let long = "x".repeat(10_000);
        for id in ["%00", "..", ".", "%2e%2e", "a%2Fb", "resp_%00", "resp_", "", "é", &long] {
            check("GET", &format!("/v1/responses/{id}"), 404, None);
            check("GET", &format!("/v1/conversations/{id}/items"), 404, None);
            let conversation = ConversationId(Nonce::mint(0, 0));
            check("GET", &format!("/v1/conversations/{conversation}/items/{id}"), 404, None);
        }
        for name in ["", "..", "a/../b", "a%2F..%2Fb", "%2e%2e", "a//b", "a%00", "a?b", "a#b", "a b", &long] {
            check("GET", &format!("/v1/models/{name}"), 404, None);
        }
        check("GET", &format!("/v1/responses/x/{}", "y/".repeat(5000)), 404, None);
    }
}
