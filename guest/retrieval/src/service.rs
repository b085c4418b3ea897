//! The function as a whole: a request comes in, an answer goes out.

use crate::download::Download;
use crate::problem::{Problem, internal};
use crate::route::{Route, WorkRoute};
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::{ChunkSource, Upstream};
use waggle_openai::Nonce;
use waggle_platform::{Delivery, Platform, Reply, Request, USER_FIELD, Work, read_json};

/// The longest request body that is JSON, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// The function, with what it stands on.
#[derive(Debug)]
pub struct Service<S, I, U, P> {
    /// Where files and vector stores are kept.
    pub store: S,
    /// Where chunks are searched.
    pub index: I,
    /// How a model is reached.
    pub upstream: U,
    /// The rest.
    pub platform: P,
}

/// An answer.
#[derive(Debug)]
pub enum Answer<S, P> {
    /// One that is whole.
    Reply(Reply),
    /// One that is still to be produced: 200 with [`Download::headers`], then whatever [`Download::run`] writes.
    Stream(Download<S, P>),
    /// An answer, and work to be done beside it and after it, for want of a host that takes it.
    Working(Box<Self>, Work),
}

/// Work that nobody but this function does: what the host's queue would have taken.
pub(crate) type Beside = Vec<WorkRoute>;

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Serves one request.
    pub async fn handle<C: ChunkSource>(self, request: Request<'_>, body: C) -> Answer<S, P> {
        let (path, query) = request.path_with_query.split_once('?').unwrap_or((request.path_with_query, ""));
        if let Some(delivery) = request.work
            && let Some(work) = WorkRoute::find(request.method, path)
        {
            return Answer::Reply(Box::pin(self.deliver(request.user, work, delivery)).await);
        }
        let route = match Route::find(request.method, path) {
            Ok(route) => route,
            Err(error) => return Answer::Reply(Reply::from(&error)),
        };
        let dify = route == Route::DifyRetrieval;
        let mut beside = Beside::new();
        let served = match viewer(request.user) {
            Ok(viewer) => {
                let served = Box::pin(self.serve(&viewer, route, (request, query), body, &mut beside)).await;
                served.map(|answer| (answer, viewer))
            }
            Err(problem) => Err(problem),
        };
        match served {
            Ok((answer, _)) if beside.is_empty() => answer,
            Ok((answer, viewer)) => {
                let work = Work::new(async move { self.run_alone(&viewer, beside).await });
                Answer::Working(Box::new(answer), work)
            }
            Err(problem) if dify => Answer::Reply(crate::search::dify_refusal(&self.platform, &problem)),
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    async fn serve<C: ChunkSource>(
        &self,
        viewer: &Viewer,
        route: Route,
        (request, query): (Request<'_>, &str),
        body: C,
        beside: &mut Beside,
    ) -> Result<Answer<S, P>, Problem> {
        if route == Route::CreateFile {
            return Ok(Answer::Reply(self.create_file(viewer, request, body).await?));
        }
        if let Route::GetFileContent(file) = route {
            return self.get_file_content(viewer, file).await;
        }
        let body =
            if route.has_json() { read_json(request, body, BODY_BYTES_MAX).await? } else { Vec::new() };
        Ok(Answer::Reply(self.serve_json(viewer, route, (query, &body), beside).await?))
    }

    async fn serve_json(
        &self,
        viewer: &Viewer,
        route: Route,
        (query, body): (&str, &[u8]),
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        match route {
            Route::ListFiles => self.list_files(viewer, query).await,
            Route::GetFile(file) => self.get_file(viewer, file).await,
            Route::DeleteFile(file) => self.delete_file(viewer, file, beside).await,
            Route::CreateStore => self.create_store(viewer, body, beside).await,
            Route::ListStores => self.list_stores(viewer, query).await,
            Route::GetStore(store) => self.get_store(viewer, store, beside).await,
            Route::UpdateStore(store) => self.update_store(viewer, store, body).await,
            Route::DeleteStore(store) => self.delete_store(viewer, store, beside).await,
            Route::SearchStore(store) => self.search_store(viewer, store, body, beside).await,
            Route::AddMember(store) => self.add_member(viewer, store, body, beside).await,
            Route::ListMembers(store) => self.list_members(viewer, store, query).await,
            Route::GetMember(store, file) => self.get_member(viewer, store, file, beside).await,
            Route::UpdateMember(store, file) => self.update_member(viewer, store, (file, body), beside).await,
            Route::RemoveMember(store, file) => self.remove_member(viewer, store, file, beside).await,
            Route::GetMemberContent(store, file) => self.get_member_content(viewer, store, file, query).await,
            Route::CreateBatch(store) => self.create_batch(viewer, store, body, beside).await,
            Route::GetBatch(store, batch) => self.get_batch(viewer, store, batch, beside).await,
            Route::CancelBatch(store, batch) => self.cancel_batch(viewer, store, batch, beside).await,
            Route::ListBatchMembers(store, batch) => {
                self.list_batch_members(viewer, store, batch, query).await
            }
            Route::Search => self.retrieve(viewer, body, beside).await,
            Route::KeepAnswer => self.keep_answer(viewer, body).await,
            Route::ListQuestions => self.list_questions(viewer, query).await,
            Route::EraseUser(user) => self.erase_user(viewer, &user, beside).await,
            Route::DifyRetrieval => self.dify(viewer, body, beside).await,
            Route::CreateFile | Route::GetFileContent(_) => {
                Err(internal("a route was served in the wrong place".to_owned()))
            }
        }
    }

    /// Serves a delivery. The head of the answer ends the work, so it comes when the work is done or handed on.
    async fn deliver(&self, user: &[Vec<u8>], work: WorkRoute, delivery: Delivery) -> Reply {
        let done = match viewer(user) {
            Ok(viewer) => match work {
                WorkRoute::Ingest(store, lane, ticket) => {
                    self.deliver_ingest(&viewer, store, (lane, ticket), delivery).await
                }
                WorkRoute::Sweep(store) => self.deliver_sweep(&viewer, store).await,
            },
            Err(problem) => Err(problem),
        };
        match done {
            Ok(()) => Reply::json(b"{\"object\":\"retrieval.work\",\"done\":true}".to_vec()),
            Err(problem) => report(&self.platform, &problem),
        }
    }

    pub(crate) fn nonce(&self) -> Nonce {
        Nonce::mint(self.platform.now_ms(), self.platform.random())
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.platform.now_ms() / 1000
    }
}

fn viewer(user: &[Vec<u8>]) -> Result<Viewer, Problem> {
    Viewer::from_field(user)
        .map_err(|error| internal(format!("the field '{USER_FIELD}' is not usable: {error}")))
}

/// Logs what the operator should know of a problem and makes the reply for the caller.
pub(crate) fn report<P: Platform>(platform: &P, problem: &Problem) -> Reply {
    if let Some(line) = &problem.log {
        platform.log(&format!("status={} {line}", problem.error.status));
    }
    Reply::from(&*problem.error)
}
