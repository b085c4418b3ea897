//! Which endpoint a method and a path mean. Nothing a client puts into a path goes further than this file unless it
//! has the form of one of our ids.

use waggle_conversation::Viewer;
use waggle_openai::{ApiError, FileBatchId, FileId, Nonce, VectorStoreId, percent};

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/files`
    CreateFile,
    /// `GET /v1/files`
    ListFiles,
    /// `GET /v1/files/{file}`
    GetFile(FileId),
    /// `GET /v1/files/{file}/content`
    GetFileContent(FileId),
    /// `DELETE /v1/files/{file}`
    DeleteFile(FileId),
    /// `POST /v1/vector_stores`
    CreateStore,
    /// `GET /v1/vector_stores`
    ListStores,
    /// `GET /v1/vector_stores/{store}`
    GetStore(VectorStoreId),
    /// `POST /v1/vector_stores/{store}`
    UpdateStore(VectorStoreId),
    /// `DELETE /v1/vector_stores/{store}`
    DeleteStore(VectorStoreId),
    /// `POST /v1/vector_stores/{store}/search`
    SearchStore(VectorStoreId),
    /// `POST /v1/vector_stores/{store}/files`
    AddMember(VectorStoreId),
    /// `GET /v1/vector_stores/{store}/files`
    ListMembers(VectorStoreId),
    /// `GET /v1/vector_stores/{store}/files/{file}`
    GetMember(VectorStoreId, FileId),
    /// `POST /v1/vector_stores/{store}/files/{file}`
    UpdateMember(VectorStoreId, FileId),
    /// `DELETE /v1/vector_stores/{store}/files/{file}`
    RemoveMember(VectorStoreId, FileId),
    /// `GET /v1/vector_stores/{store}/files/{file}/content`
    GetMemberContent(VectorStoreId, FileId),
    /// `POST /v1/vector_stores/{store}/file_batches`
    CreateBatch(VectorStoreId),
    /// `GET /v1/vector_stores/{store}/file_batches/{batch}`
    GetBatch(VectorStoreId, FileBatchId),
    /// `POST /v1/vector_stores/{store}/file_batches/{batch}/cancel`
    CancelBatch(VectorStoreId, FileBatchId),
    /// `GET /v1/vector_stores/{store}/file_batches/{batch}/files`
    ListBatchMembers(VectorStoreId, FileBatchId),
    /// `POST /v1/retrieval/search`
    Search,
    /// `POST /v1/retrieval/answers`
    KeepAnswer,
    /// `GET /v1/retrieval/questions`
    ListQuestions,
    /// `DELETE /v1/retrieval/users/{user}/data`, the user as they are called
    EraseUser(String),
    /// `POST /retrieval`, as Dify asks
    DifyRetrieval,
}

/// Work that the host delivers. Without the host's word these paths are no endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkRoute {
    /// `POST /v1/vector_stores/{store}/ingest/{lane}/{ticket}`
    Ingest(VectorStoreId, u8, Nonce),
    /// `POST /v1/vector_stores/{store}/sweep`
    Sweep(VectorStoreId),
}

impl WorkRoute {
    /// Finds the work that a method and a path mean.
    pub(crate) fn find(method: &str, path: &str) -> Option<Self> {
        let (store, rest) = path.strip_prefix("/v1/vector_stores/")?.split_once('/')?;
        let store = VectorStoreId::parse(store).filter(|_| method == "POST")?;
        if rest == "sweep" {
            return Some(Self::Sweep(store));
        }
        let (lane, ticket) = rest.strip_prefix("ingest/")?.split_once('/')?;
        let lane = lane.parse().ok().filter(|number| *number < crate::plan::LANES && lane.len() == 1)?;
        Some(Self::Ingest(store, lane, Nonce::parse(ticket)?))
    }

    /// The path by which the host is to deliver it.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Ingest(store, lane, ticket) => format!("/v1/vector_stores/{store}/ingest/{lane}/{ticket}"),
            Self::Sweep(store) => format!("/v1/vector_stores/{store}/sweep"),
        }
    }
}

impl Route {
    /// Whether the request has a body that is JSON.
    pub(crate) fn has_json(&self) -> bool {
        matches!(
            self,
            Self::CreateStore
                | Self::UpdateStore(_)
                | Self::SearchStore(_)
                | Self::AddMember(_)
                | Self::UpdateMember(..)
                | Self::CreateBatch(_)
                | Self::Search
                | Self::KeepAnswer
                | Self::DifyRetrieval
        )
    }

    /// Finds the endpoint for a method and a path, without its query.
    ///
    /// # Errors
    /// 404: no such path, or an id in it is none of ours; 405: the path has other methods.
    pub fn find(method: &str, path: &str) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown_url(method, path);
        let (resource, given) = RESOURCES
            .iter()
            .find_map(|resource| Some((resource, resource.fit(path)?)))
            .ok_or_else(unknown)?;
        let make = resource.methods.iter().find(|(name, _)| *name == method).map(|(_, make)| make);
        let make = make.ok_or_else(|| ApiError::method_not_allowed(method, resource.allow))?;
        make(given)
    }
}

/// The most places of one path where something of the client's stands.
const PLACES_MAX: usize = 2;

/// What stands in the places of a path, in order, as the client wrote it.
type Given<'a> = [&'a str; PLACES_MAX];
type Make = fn(Given<'_>) -> Result<Route, ApiError>;

/// A path and what can be done with it. What stands in braces is the client's.
struct Resource {
    path: &'static str,
    /// The methods, as `Allow` lists them.
    allow: &'static str,
    methods: &'static [(&'static str, Make)],
}

/// Every path, with every method it has. There is no other way to an endpoint.
static RESOURCES: [Resource; 18] = [
    Resource {
        path: "/v1/files",
        allow: "GET, POST",
        methods: &[("GET", |_| Ok(Route::ListFiles)), ("POST", |_| Ok(Route::CreateFile))],
    },
    Resource {
        path: "/v1/files/{file}",
        allow: "GET, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetFile(file(id)?))),
            ("DELETE", |[id, _]| Ok(Route::DeleteFile(file(id)?))),
        ],
    },
    Resource {
        path: "/v1/files/{file}/content",
        allow: "GET",
        methods: &[("GET", |[id, _]| Ok(Route::GetFileContent(file(id)?)))],
    },
    Resource {
        path: "/v1/vector_stores",
        allow: "GET, POST",
        methods: &[("GET", |_| Ok(Route::ListStores)), ("POST", |_| Ok(Route::CreateStore))],
    },
    Resource {
        path: "/v1/vector_stores/{store}",
        allow: "GET, POST, DELETE",
        methods: &[
            ("GET", |[id, _]| Ok(Route::GetStore(store(id)?))),
            ("POST", |[id, _]| Ok(Route::UpdateStore(store(id)?))),
            ("DELETE", |[id, _]| Ok(Route::DeleteStore(store(id)?))),
        ],
    },
    Resource {
        path: "/v1/vector_stores/{store}/search",
        allow: "POST",
        methods: &[("POST", |[id, _]| Ok(Route::SearchStore(store(id)?)))],
    },
    Resource {
        path: "/v1/vector_stores/{store}/files",
        allow: "GET, POST",
        methods: &[
            ("GET", |[id, _]| Ok(Route::ListMembers(store(id)?))),
            ("POST", |[id, _]| Ok(Route::AddMember(store(id)?))),
        ],
    },
    Resource {
        path: "/v1/vector_stores/{store}/files/{file}",
        allow: "GET, POST, DELETE",
        methods: &[
            ("GET", |[id, name]| Ok(Route::GetMember(store(id)?, file(name)?))),
            ("POST", |[id, name]| Ok(Route::UpdateMember(store(id)?, file(name)?))),
            ("DELETE", |[id, name]| Ok(Route::RemoveMember(store(id)?, file(name)?))),
        ],
    },
    Resource {
        path: "/v1/vector_stores/{store}/files/{file}/content",
        allow: "GET",
        methods: &[("GET", |[id, name]| Ok(Route::GetMemberContent(store(id)?, file(name)?)))],
    },
    Resource {
        path: "/v1/vector_stores/{store}/file_batches",
        allow: "POST",
        methods: &[("POST", |[id, _]| Ok(Route::CreateBatch(store(id)?)))],
    },
    Resource {
        path: "/v1/vector_stores/{store}/file_batches/{batch}",
        allow: "GET",
        methods: &[("GET", |[id, name]| Ok(Route::GetBatch(store(id)?, batch(name)?)))],
    },
    Resource {
        path: "/v1/vector_stores/{store}/file_batches/{batch}/cancel",
        allow: "POST",
        methods: &[("POST", |[id, name]| Ok(Route::CancelBatch(store(id)?, batch(name)?)))],
    },
    Resource {
        path: "/v1/vector_stores/{store}/file_batches/{batch}/files",
        allow: "GET",
        methods: &[("GET", |[id, name]| Ok(Route::ListBatchMembers(store(id)?, batch(name)?)))],
    },
    Resource { path: "/v1/retrieval/search", allow: "POST", methods: &[("POST", |_| Ok(Route::Search))] },
    Resource {
        path: "/v1/retrieval/answers",
        allow: "POST",
        methods: &[("POST", |_| Ok(Route::KeepAnswer))],
    },
    Resource {
        path: "/v1/retrieval/questions",
        allow: "GET",
        methods: &[("GET", |_| Ok(Route::ListQuestions))],
    },
    Resource {
        path: "/v1/retrieval/users/{user}/data",
        allow: "DELETE",
        methods: &[("DELETE", |[name, _]| Ok(Route::EraseUser(user(name)?)))],
    },
    Resource { path: "/retrieval", allow: "POST", methods: &[("POST", |_| Ok(Route::DifyRetrieval))] },
];

impl Resource {
    /// What stands in the places of this path, if `path` has its form.
    fn fit<'a>(&self, path: &'a str) -> Option<Given<'a>> {
        let mut given = [""; PLACES_MAX];
        let mut places = given.iter_mut();
        let mut parts = path.split('/');
        for known in self.path.split('/') {
            let part = parts.next()?;
            if known.starts_with('{') {
                *places.next()? = part;
            } else if known != part {
                return None;
            }
        }
        parts.next().is_none().then_some(given)
    }
}

/// Every endpoint: its method and its path, with `{file}`, `{store}`, `{batch}` and `{user}` where something of the
/// client's stands.
pub fn endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    RESOURCES.iter().flat_map(|resource| resource.methods.iter().map(|(method, _)| (*method, resource.path)))
}

// Our ids hold nothing that is ever percent-encoded, so what is encoded is not one of them.

fn file(id: &str) -> Result<FileId, ApiError> {
    FileId::parse(id).ok_or_else(|| ApiError::not_found("File", id))
}

fn store(id: &str) -> Result<VectorStoreId, ApiError> {
    VectorStoreId::parse(id).ok_or_else(|| ApiError::not_found("Vector store", id))
}

fn batch(id: &str) -> Result<FileBatchId, ApiError> {
    FileBatchId::parse(id).ok_or_else(|| ApiError::not_found("File batch", id))
}

/// The name of a user, which may hold characters that a path cannot.
fn user(name: &str) -> Result<String, ApiError> {
    percent::decode(name)
        .filter(|name| Viewer::user(name).is_some())
        .ok_or_else(|| ApiError::not_found("User", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(path: &str) -> String {
        let nonce = Nonce::mint(3, 4);
        path.replace("{file}", &FileId(nonce).to_string())
            .replace("{store}", &VectorStoreId(nonce).to_string())
            .replace("{batch}", &FileBatchId(nonce).to_string())
            .replace("{user}", "a%40b")
    }

    #[test]
    fn every_endpoint_is_found_by_its_path_and_no_other() {
        let mut seen = Vec::new();
        for (method, path) in endpoints() {
            let route = Route::find(method, &fill(path)).unwrap();
            assert!(!seen.contains(&route), "{method} {path} is {route:?} again");
            seen.push(route);
        }
        assert!(seen.contains(&Route::EraseUser("a@b".to_owned())));
        for resource in &RESOURCES {
            let methods: Vec<&str> = resource.methods.iter().map(|(method, _)| *method).collect();
            assert_eq!(resource.allow, methods.join(", "), "{}", resource.path);
        }
    }

    fn check(method: &str, path: &str, status: u16, allow: Option<&str>) {
        let error = Route::find(method, path).unwrap_err();
        assert_eq!((error.status, error.allow), (status, allow), "{method} {path}");
    }

    #[test]
    fn unknown_paths_methods_and_ids_are_told_apart() {
        for path in
            ["", "/", "/v1/file", "/v1/files/", "/v1/vector_stores/x/y", "/retrieval/", "/v1/retrieval"]
        {
            check("GET", path, 404, None);
        }
        check("PUT", "/v1/files", 405, Some("GET, POST"));
        check("GET", "/retrieval", 405, Some("POST"));
        check("POST", "/v1/retrieval/questions", 405, Some("GET"));
        let long = "x".repeat(10_000);
        for id in ["%00", "..", "file_x", "resp_", "", "é", &long] {
            check("GET", &format!("/v1/files/{id}"), 404, None);
            check("GET", &format!("/v1/vector_stores/{id}"), 404, None);
            check("DELETE", &format!("/v1/retrieval/users/{id}%20/data"), 404, None);
        }
    }

    #[test]
    fn work_has_paths_that_are_no_endpoints() {
        let (store, ticket) = (VectorStoreId(Nonce::mint(1, 2)), Nonce::mint(3, 4));
        for work in [WorkRoute::Ingest(store, 3, ticket), WorkRoute::Sweep(store)] {
            assert_eq!(WorkRoute::find("POST", &work.path()), Some(work));
            assert_eq!(WorkRoute::find("GET", &work.path()), None);
            assert_eq!(Route::find("POST", &work.path()).unwrap_err().status, 404);
        }
        for path in [
            format!("/v1/vector_stores/{store}/ingest/4/{ticket}"),
            format!("/v1/vector_stores/{store}/ingest/+1/{ticket}"),
            format!("/v1/vector_stores/{store}/ingest/1/x"),
            "/v1/vector_stores/x/sweep".to_owned(),
        ] {
            assert_eq!(WorkRoute::find("POST", &path), None, "{path}");
        }
    }
}
