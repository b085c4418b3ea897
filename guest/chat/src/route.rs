//! Which endpoint a method and a path mean. Nothing a client puts into a path goes further than this file unless it
//! has the form of one of our ids.

use waggle_conversation::Viewer;
use waggle_openai::{ApiError, ConversationId, ItemId, ResponseId, percent};

/// The longest model name in a path, in bytes.
const MODEL_BYTES_MAX: usize = 256;

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/responses`
    CreateResponse,
    /// `POST /v1/responses/compact`
    Compact,
    /// `POST /v1/responses/input_tokens`
    CountInputTokens,
    /// `GET /v1/responses/{id}`
    GetResponse(ResponseId),
    /// `DELETE /v1/responses/{id}`
    DeleteResponse(ResponseId),
    /// `POST /v1/responses/{id}/cancel`
    CancelResponse(ResponseId),
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
    /// `POST /v1/conversations/{id}/items/{item}/pin`
    PinItem(ConversationId, ItemId),
    /// `DELETE /v1/conversations/{id}/items/{item}/pin`
    UnpinItem(ConversationId, ItemId),
    /// `POST /v1/conversations/{id}/handover`
    HandOver(ConversationId),
    /// `GET /v1/conversations/{id}/handover`
    GetHandover(ConversationId),
    /// `DELETE /v1/conversations/{id}/handover`
    HandBack(ConversationId),
    /// `POST /v1/chat/completions`
    CreateChatCompletion,
    /// `POST /v1/chat`
    CreateSessionTurn,
    /// `GET /v1/sessions`
    ListSessions,
    /// `GET /v1/sessions/{id}`
    GetSession(ConversationId),
    /// `DELETE /v1/sessions/{id}`
    DeleteSession(ConversationId),
    /// `POST /v1/users/{user}/export`, the user as they are called
    ExportUser(String),
    /// `DELETE /v1/users/{user}/data`, the user as they are called
    EraseUser(String),
    /// `POST /v1/embeddings`
    CreateEmbedding,
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
                | Self::Compact
                | Self::CountInputTokens
                | Self::CreateConversation
                | Self::UpdateConversation(_)
                | Self::AddItems(_)
                | Self::HandOver(_)
                | Self::CreateChatCompletion
                | Self::CreateSessionTurn
                | Self::CreateEmbedding
        )
    }

    /// Finds the endpoint for a method and a path, without its query.
    ///
    /// # Errors
    /// 404: no such path, or an id in it is none of ours; 405: the path has other methods.
    pub fn find(method: &str, path: &str) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown_url(method, path);
        let rest = path.strip_prefix(PREFIX).ok_or_else(unknown)?;
        let (resource, given) = RESOURCES
            .iter()
            .find_map(|resource| Some((resource, resource.fit(rest)?)))
            .ok_or_else(unknown)?;
        let make = resource.methods.iter().find(|(name, _)| *name == method).map(|(_, make)| make);
        let make = make.ok_or_else(|| ApiError::method_not_allowed(method, resource.allow))?;
        make(given)
    }
}

/// What every path begins with.
const PREFIX: &str = "/v1/";
/// The most places of one path where something of the client's stands.
const PLACES_MAX: usize = 2;

/// What stands in the places of a path, in order, as the client wrote it.
type Given<'a> = [&'a str; PLACES_MAX];
type Make = fn(Given<'_>) -> Result<Route, ApiError>;

/// A part of a path, between two slashes.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// This word.
    Word(&'static str),
    /// Anything: what its name says, or it is not found.
    Place(&'static str),
    /// The same, slashes included, to the end.
    Rest(&'static str),
}

/// A path and what can be done with it.
struct Resource {
    parts: &'static [Part],
    /// The methods, as `Allow` lists them.
    allow: &'static str,
    methods: &'static [(&'static str, Make)],
}

use Part::{Place, Rest, Word};

const RESPONSE: Part = Place("{response}");
const CONVERSATION: Part = Place("{conversation}");
const ITEM: Part = Place("{item}");
const SESSION: Part = Place("{session}");
const USER: Part = Place("{user}");

/// Every path, with every method it has. There is no other way to an endpoint.
static RESOURCES: [Resource; 21] = [
    Resource {
        parts: &[Word("users"), USER, Word("data")],
        allow: "DELETE",
        methods: &[("DELETE", |[name, _]| Ok(Route::EraseUser(user(name)?)))],
    },
    Resource {
        parts: &[Word("users"), USER, Word("export")],
        allow: "POST",
        methods: &[("POST", |[name, _]| Ok(Route::ExportUser(user(name)?)))],
    },
    Resource {
        parts: &[Word("responses")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CreateResponse))],
    },
    // It stands before the next, which would take its last word for an id.
    Resource {
        parts: &[Word("responses"), Word("input_tokens")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CountInputTokens))],
    },
    Resource {
        parts: &[Word("responses"), Word("compact")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::Compact))],
    },
    Resource {
        parts: &[Word("responses"), RESPONSE],
        allow: "GET, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetResponse(response(id)?))),
            ("DELETE", |[id, _]| Ok(Route::DeleteResponse(response(id)?))),
        ],
    },
    Resource {
        parts: &[Word("responses"), RESPONSE, Word("cancel")],
        allow: "POST",
        methods: &[("POST", |[id, _]| Ok(Route::CancelResponse(response(id)?)))],
    },
    Resource {
        parts: &[Word("responses"), RESPONSE, Word("input_items")],
        allow: "GET",
        methods: &[("GET", |[id, _]| Ok(Route::ListInputItems(response(id)?)))],
    },
    Resource {
        parts: &[Word("conversations")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CreateConversation))],
    },
    Resource {
        parts: &[Word("conversations"), CONVERSATION],
        allow: "GET, POST, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetConversation(conversation(id)?))),
            ("POST", |[id, _]| Ok(Route::UpdateConversation(conversation(id)?))),
            ("DELETE", |[id, _]| Ok(Route::DeleteConversation(conversation(id)?))),
        ],
    },
    Resource {
        parts: &[Word("conversations"), CONVERSATION, Word("items")],
        allow: "GET, POST",
        methods: &[
            ("GET", |[id, _]| Ok(Route::ListItems(conversation(id)?))),
            ("POST", |[id, _]| Ok(Route::AddItems(conversation(id)?))),
        ],
    },
    Resource {
        parts: &[Word("conversations"), CONVERSATION, Word("items"), ITEM],
        allow: "GET, DELETE",
        methods: &[
            ("GET", |[id, item_id]| Ok(Route::GetItem(conversation(id)?, item(item_id)?))),
            ("DELETE", |[id, item_id]| Ok(Route::DeleteItem(conversation(id)?, item(item_id)?))),
        ],
    },
    Resource {
        parts: &[Word("conversations"), CONVERSATION, Word("items"), ITEM, Word("pin")],
        allow: "POST, DELETE",
        methods: &[
            ("POST", |[id, item_id]| Ok(Route::PinItem(conversation(id)?, item(item_id)?))),
            ("DELETE", |[id, item_id]| Ok(Route::UnpinItem(conversation(id)?, item(item_id)?))),
        ],
    },
    Resource {
        parts: &[Word("conversations"), CONVERSATION, Word("handover")],
        allow: "GET, POST, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetHandover(conversation(id)?))),
            ("POST", |[id, _]| Ok(Route::HandOver(conversation(id)?))),
            ("DELETE", |[id, _]| Ok(Route::HandBack(conversation(id)?))),
        ],
    },
    Resource {
        parts: &[Word("chat"), Word("completions")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CreateChatCompletion))],
    },
    Resource {
        parts: &[Word("chat")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CreateSessionTurn))],
    },
    Resource { parts: &[Word("sessions")], allow: "GET", methods: &[("GET", |_| Ok(Route::ListSessions))] },
    Resource {
        parts: &[Word("sessions"), SESSION],
        allow: "GET, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetSession(session(id)?))),
            ("DELETE", |[id, _]| Ok(Route::DeleteSession(session(id)?))),
        ],
    },
    Resource {
        parts: &[Word("embeddings")],
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::CreateEmbedding))],
    },
    Resource { parts: &[Word("models")], allow: "GET", methods: &[("GET", |_| Ok(Route::ListModels))] },
    Resource {
        parts: &[Word("models"), Rest("{model}")],
        allow: "GET",
        methods: &[("GET", |[name, _]| Ok(Route::GetModel(model(name)?)))],
    },
];

impl Resource {
    /// What stands in the places of this path, if `path` has its form.
    fn fit<'a>(&self, path: &'a str) -> Option<Given<'a>> {
        let mut given = [""; PLACES_MAX];
        let mut places = given.iter_mut();
        let mut left = Some(path);
        for part in self.parts {
            let path = left?;
            let (first, rest) =
                path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
            left = rest;
            match part {
                Word(word) if *word == first => {}
                Word(_) => return None,
                Place(_) => *places.next()? = first,
                Rest(_) => {
                    *places.next()? = path;
                    left = None;
                }
            }
        }
        left.is_none().then_some(given)
    }

    fn path(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Word(text) | Place(text) | Rest(text) => *text,
        });
        format!("{PREFIX}{}", parts.collect::<Vec<_>>().join("/"))
    }
}

/// Every endpoint: its method and its path, with `{response}`, `{conversation}`, `{item}`, `{session}`, `{user}` and
/// `{model}` where something of the client's stands.
pub fn endpoints() -> impl Iterator<Item = (&'static str, String)> {
    RESOURCES
        .iter()
        .flat_map(|resource| resource.methods.iter().map(|(method, _)| (*method, resource.path())))
}

// Our ids hold nothing that is ever percent-encoded, so what is encoded is not one of them.

fn response(id: &str) -> Result<ResponseId, ApiError> {
    ResponseId::parse(id).ok_or_else(|| ApiError::not_found("Response", id))
}

fn conversation(id: &str) -> Result<ConversationId, ApiError> {
    ConversationId::parse(id).ok_or_else(|| ApiError::not_found("Conversation", id))
}

fn session(id: &str) -> Result<ConversationId, ApiError> {
    ConversationId::parse(id).ok_or_else(|| ApiError::not_found("Session", id))
}

/// The name of a user, which may hold characters that a path cannot.
fn user(name: &str) -> Result<String, ApiError> {
    percent::decode(name)
        .filter(|name| Viewer::user(name).is_some())
        .ok_or_else(|| ApiError::not_found("User", name))
}

fn item(id: &str) -> Result<ItemId, ApiError> {
    ItemId::parse(id).ok_or_else(|| ApiError::not_found("Item", id))
}

/// A model's name goes on to the endpoint as it was written, so it must not be able to mean another path there.
fn model(name: &str) -> Result<String, ApiError> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'@' | b'+' | b'.');
    let part_is_fine = |part: &str| {
        decoded(part)
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain))
    };
    if name.len() <= MODEL_BYTES_MAX && name.split('/').all(part_is_fine) {
        return Ok(name.to_owned());
    }
    Err(ApiError { code: Some("model_not_found"), ..ApiError::not_found("Model", name) })
}

/// A model's name as it is meant. The slash and the colon are the only encoded characters that names of models hold.
pub(crate) fn decoded(name: &str) -> String {
    name.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%3a", ":")
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
            ("POST", "/v1/responses/input_tokens".to_owned(), Route::CountInputTokens),
            ("GET", format!("/v1/responses/{response}"), Route::GetResponse(response)),
            ("DELETE", format!("/v1/responses/{response}"), Route::DeleteResponse(response)),
            ("GET", format!("/v1/responses/{response}/input_items"), Route::ListInputItems(response)),
            ("POST", "/v1/conversations".to_owned(), Route::CreateConversation),
            ("GET", format!("/v1/conversations/{conversation}"), Route::GetConversation(conversation)),
            ("POST", format!("/v1/conversations/{conversation}"), Route::UpdateConversation(conversation)),
            ("DELETE", format!("/v1/conversations/{conversation}"), Route::DeleteConversation(conversation)),
            ("GET", format!("/v1/conversations/{conversation}/items"), Route::ListItems(conversation)),
            ("POST", format!("/v1/conversations/{conversation}/items"), Route::AddItems(conversation)),
            ("POST", format!("/v1/conversations/{conversation}/handover"), Route::HandOver(conversation)),
            ("GET", format!("/v1/conversations/{conversation}/handover"), Route::GetHandover(conversation)),
            ("DELETE", format!("/v1/conversations/{conversation}/handover"), Route::HandBack(conversation)),
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
            (
                "POST",
                format!("/v1/conversations/{conversation}/items/{item}/pin"),
                Route::PinItem(conversation, item),
            ),
            (
                "DELETE",
                format!("/v1/conversations/{conversation}/items/{item}/pin"),
                Route::UnpinItem(conversation, item),
            ),
            ("POST", "/v1/responses/compact".to_owned(), Route::Compact),
            ("POST", "/v1/chat/completions".to_owned(), Route::CreateChatCompletion),
            ("POST", "/v1/chat".to_owned(), Route::CreateSessionTurn),
            ("GET", "/v1/sessions".to_owned(), Route::ListSessions),
            ("GET", format!("/v1/sessions/{conversation}"), Route::GetSession(conversation)),
            ("DELETE", format!("/v1/sessions/{conversation}"), Route::DeleteSession(conversation)),
            ("POST", "/v1/users/a%40b%2fc/export".to_owned(), Route::ExportUser("a@b/c".to_owned())),
            ("DELETE", "/v1/users/ada/data".to_owned(), Route::EraseUser("ada".to_owned())),
            ("POST", "/v1/embeddings".to_owned(), Route::CreateEmbedding),
            ("GET", "/v1/models".to_owned(), Route::ListModels),
            ("GET", "/v1/models/org/name:7b".to_owned(), Route::GetModel("org/name:7b".to_owned())),
            ("GET", "/v1/models/org%2Fname".to_owned(), Route::GetModel("org%2Fname".to_owned())),
        ] {
            assert_eq!(Route::find(method, &path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn the_table_says_of_each_path_which_methods_it_has() {
        for resource in &RESOURCES {
            let methods: Vec<&str> = resource.methods.iter().map(|(method, _)| *method).collect();
            assert_eq!(resource.allow, methods.join(", "), "{}", resource.path());
        }
        let nonce = Nonce::mint(3, 4);
        for (method, path) in endpoints() {
            let path = path
                .replace("{response}", &ResponseId(nonce).to_string())
                .replace("{conversation}", &ConversationId(nonce).to_string())
                .replace("{item}", &format!("msg_{nonce}000"))
                .replace("{session}", &ConversationId(nonce).to_string())
                .replace("{user}", "ada")
                .replace("{model}", "m");
            assert!(Route::find(method, &path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v2/responses",
            "/v1/embedding",
            "/v1/users/ada",
            "/v1/chat/completions/",
        ] {
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
        for name in ["", "a%00", "a%", "a%2", "a%gg", "a%20b", "%c3%a9", "%ff", &long] {
            check("DELETE", &format!("/v1/users/{name}/data"), 404, None);
        }
        check("GET", &format!("/v1/responses/x/{}", "y/".repeat(5000)), 404, None);
    }
}
