//! The function as a whole: a webhook or a delivery comes in, an answer goes out.

use crate::chatwoot::{self, Place};
use crate::problem::Problem;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::ChunkSource;
use waggle_openai::ApiError;
use waggle_platform::{Platform, Reply, Request, Work, read_json};

/// The longest webhook, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Where Chatwoot's webhook goes.
const CHATWOOT_PATH: &str = "/v1/channels/chatwoot";

/// The function, with what it stands on.
#[derive(Debug, Clone)]
pub struct Service<S, P> {
    /// Where it is kept what is still to be done, and which conversation is which.
    pub store: S,
    /// The rest.
    pub platform: P,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// One that is whole.
    Reply(Reply),
    /// One that is whole, and work to be done beside it and after it, for want of a host that takes it.
    Working(Reply, Work),
}

impl<S: Store + 'static, P: Platform> Service<S, P> {
    /// Serves one request.
    pub async fn handle<C: ChunkSource>(self, request: Request<'_>, body: C) -> Answer {
        let path = request.path_with_query.split('?').next().unwrap_or_default();
        if let Some(delivery) = request.work
            && let Some(place) = Place::of_path(request.method, path)
        {
            return Answer::Reply(self.deliver(&place, delivery).await);
        }
        match self.receive(request, path, body).await {
            Ok(answer) => answer,
            Err(problem) => Answer::Reply(problem.report(&self.platform)),
        }
    }

    async fn receive<C: ChunkSource>(
        &self,
        request: Request<'_>,
        path: &str,
        body: C,
    ) -> Result<Answer, Problem> {
        if path != CHATWOOT_PATH {
            return Err(ApiError::unknown_url(request.method, path).into());
        }
        if request.method != "POST" {
            return Err(ApiError::method_not_allowed(request.method, "POST").into());
        }
        let viewer = Viewer::from_field(request.user).ok();
        if !viewer.is_some_and(|viewer| viewer.is_service()) {
            return Err(for_services().into());
        }
        let body = read_json(request, body, BODY_BYTES_MAX).await?;
        chatwoot::receive(self, &body).await
    }
}

/// 403: what a help desk says of its users is not for one of them to say.
fn for_services() -> ApiError {
    let message =
        "Webhooks of help desks are for the tenant's own services: call with an API key that names no user.";
    ApiError::rejected(403, Some("service_only"), message)
}
