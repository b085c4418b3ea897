//! The function as a whole: a request comes in, an answer goes out.

use crate::audit::{Log, Via};
use crate::call::Caller;
use crate::catalog::{FUNCTIONS_MAX, SELECTIONS_MAX, catalog};
use crate::problem::{Problem, internal, wrong};
use crate::registry::{Memory, Snapshot};
use crate::route::Route;
use crate::serve::{self, McpTools};
use crate::settings::AuditSettings;
use serde::de::DeserializeOwned;
use std::rc::Rc;
use waggle_conversation::{Store, Viewer};
use waggle_mcp::server::StreamedCall;
use waggle_mcp::{Fetch, Unheard};
use waggle_model::transport::ChunkSource;
use waggle_openai::{ApiError, json};
use waggle_platform::{Platform, Reply, Request, USER_FIELD, read_json};
use waggle_tool::wire::{CallRequest, CatalogRequest, OFFERED_MAX};

/// The longest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The longest idempotency key of a call, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// The function, with what it stands on.
#[derive(Debug, Clone)]
pub struct Service<S, F, P> {
    /// Where the audit log is kept.
    pub store: S,
    /// How tools, and the host that runs them, are reached.
    pub fetch: F,
    /// The rest.
    pub platform: P,
    /// What the instance remembers.
    pub memory: Rc<Memory>,
}

/// An answer.
#[derive(Debug)]
pub enum Answer<S, F, P> {
    /// One that is whole.
    Reply(Reply),
    /// A call of MCP's whose progress is told while it runs: 200 with [`StreamedCall::headers`], then whatever
    /// [`StreamedCall::run`] writes.
    Stream(Box<StreamedCall<McpTools<S, F, P>>>),
}

impl<S: Store, F: Fetch + Clone, P: Platform> Service<S, F, P> {
    /// Serves one request. `headers` are all of its header fields, in any case, as they came.
    pub async fn handle<C: ChunkSource>(
        self,
        request: Request<'_>,
        headers: &[(String, Vec<u8>)],
        body: C,
    ) -> Answer<S, F, P> {
        let delivered = request.work.is_some();
        let found = Route::find(request.method, request.path_with_query, delivered);
        let route = match found {
            Ok(route) => route,
            Err(error) => return Answer::Reply(Reply::from(&error)),
        };
        let viewer = match viewer(request.user) {
            Ok(viewer) => viewer,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        if route == Route::Mcp {
            return match serve::answer(self.clone(), &viewer, (request.method, headers), body).await {
                Ok(answer) => answer,
                Err(problem) => Answer::Reply(report(&self.platform, &problem)),
            };
        }
        let served = self.serve(route, &viewer, request, body).await;
        Answer::Reply(served.unwrap_or_else(|problem| report(&self.platform, &problem)))
    }

    async fn serve<C: ChunkSource>(
        &self,
        route: Route,
        viewer: &Viewer,
        request: Request<'_>,
        body: C,
    ) -> Result<Reply, Problem> {
        match route {
            Route::Catalog => {
                let asked: CatalogRequest = read(&read_json(request, body, BODY_BYTES_MAX).await?)?;
                self.catalog(&asked).await
            }
            Route::Call => {
                let asked: CallRequest = read(&read_json(request, body, BODY_BYTES_MAX).await?)?;
                let is_key = asked.idempotency_key.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_key || !(1..=KEY_BYTES_MAX).contains(&asked.idempotency_key.len()) {
                    let expected = format!("1 to {KEY_BYTES_MAX} printable ASCII characters");
                    return Err(wrong("idempotency_key", &expected).into());
                }
                let user = viewer.owner().user().map(str::to_owned);
                let caller = Caller { user, via: Via::Agent };
                let reply = self.call(&asked, &caller, &mut Unheard).await?;
                Ok(reply_json(&reply))
            }
            Route::List => Ok(self.list(&*self.registry().await?)),
            Route::Audit(query) => {
                self.log(&AuditSettings::read(&self.platform).await?).list(viewer, &query).await
            }
            Route::EraseUser(user) => {
                self.log(&AuditSettings::read(&self.platform).await?).erase(viewer, &user).await
            }
            Route::ListRemote => self.list_remote(&read_json(request, body, BODY_BYTES_MAX).await?).await,
            Route::Recognise { is_turn } => Box::pin(self.recognise(viewer, request, body, is_turn)).await,
            Route::Mcp => Err(internal("a route was served in the wrong place".to_owned())),
        }
    }

    async fn catalog(&self, asked: &CatalogRequest) -> Result<Reply, Problem> {
        if asked.select.len() > SELECTIONS_MAX {
            return Err(wrong("select", &format!("at most {SELECTIONS_MAX} selections")).into());
        }
        let functions = asked.select.iter().filter_map(|selection| selection.functions.as_ref());
        if functions.into_iter().any(|functions| functions.len() > FUNCTIONS_MAX) {
            return Err(wrong("select", &format!("selections of at most {FUNCTIONS_MAX} functions")).into());
        }
        Ok(reply_json(&catalog(&*self.registry().await?, &asked.select, OFFERED_MAX)))
    }
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    /// Which tools there are now.
    ///
    /// # Errors
    /// They cannot be known.
    pub(crate) async fn registry(&self) -> Result<Rc<Snapshot>, Problem> {
        self.memory.registry(&self.fetch, &self.platform).await
    }

    /// The audit log.
    pub(crate) fn log<'a>(&'a self, settings: &'a AuditSettings) -> Log<'a, S> {
        Log { store: &self.store, settings, now_ms: self.platform.now_ms() }
    }
}

/// # Errors
/// 400: it is not of that shape.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("The request body is not as expected: {error}.")))
}

/// 200 with the value as JSON.
pub(crate) fn reply_json<T: serde::Serialize>(value: &T) -> Reply {
    let mut out = Vec::with_capacity(4 << 10);
    json::push(&mut out, value);
    Reply::json(out)
}

fn viewer(user: &[Vec<u8>]) -> Result<Viewer, Problem> {
    Viewer::from_field(user)
        .map_err(|error| internal(format!("the field '{USER_FIELD}' is not usable: {error}")))
}

/// Logs what the operator should know of a problem and makes the reply for the caller.
fn report<P: Platform>(platform: &P, problem: &Problem) -> Reply {
    if let Some(line) = &problem.log {
        platform.log(&format!("status={} {line}", problem.error.status));
    }
    Reply::from(&*problem.error)
}
