//! From a handshake to a WebSocket that runs in the lane of its connection, and from its messages to requests.

use crate::body::Inbound;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::peer::{Bound, Peer};
use crate::websocket::{self, Answering, Asks, Limits, Place, Session};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use waggle_engine::WasiBody;
use waggle_tenancy::Caller;

/// How long the answer to the handshake may take to leave.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Answers a handshake, and begins the WebSocket if the answer agrees to it. Its turns are the caller's.
///
/// # Errors
/// When there is no room for one more, the request is not as it should be, or a page sends it that must not.
pub(crate) fn open(
    gateway: &Arc<Gateway>,
    request: &mut Request<Inbound>,
    peer: &Arc<Peer>,
    scheme: &'static str,
    caller: &Caller,
) -> Result<Response<WasiBody>, Refusal> {
    // The built-in tenant asked for no credential.
    if caller.tenant.revision == 0 && !websocket::is_from_this_machine(request.headers()) {
        return Err(Refusal::foreign_origin());
    }
    let response = websocket::agree(request)?;
    let place = gateway.sockets().open(&caller.tenant.tenant.id).map_err(|full| {
        let refusal = Refusal::no_websocket(full);
        gateway.metrics().count_refusal(refusal.code());
        refusal
    })?;
    let asks = Arc::new(Turns {
        gateway: Arc::clone(gateway),
        peer: Arc::clone(peer),
        scheme,
        uri: request.uri().clone(),
        version: request.version(),
        fields: websocket::fields_of_turns(request.headers()),
        bound: Bound::to(caller),
    });
    let limits = Limits {
        message_bytes_max: gateway.message_bytes_max(caller),
        duration_max: gateway.config().websocket.duration_max(),
        turn_max: gateway.response_timeout(),
    };
    let work = serve(hyper::upgrade::on(request), asks, place, limits);
    let open = gateway.metrics().websockets.hold();
    gateway.spawn_connection(&peer.lane, async move {
        work.await;
        drop(open);
    });
    Ok(response)
}

/// Serves a WebSocket once the answer to its handshake has left.
async fn serve(upgrade: OnUpgrade, asks: Arc<Turns>, place: Place, limits: Limits) {
    let client = asks.peer.client;
    let connection = match tokio::time::timeout(HANDSHAKE_MAX, upgrade).await {
        Ok(Ok(connection)) => TokioIo::new(connection),
        Ok(Err(error)) => return tracing::debug!(%client, %error, "no WebSocket came of a handshake"),
        Err(_elapsed) => return tracing::debug!(%client, "the answer to a handshake could not be sent"),
    };
    Session::new(connection, asks, place, limits).await.run().await;
}

/// Makes the messages of a WebSocket into requests, each of which passes all that a client's request does.
struct Turns {
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    scheme: &'static str,
    uri: Uri,
    version: Version,
    fields: HeaderMap,
    bound: Bound,
}

impl Asks for Turns {
    fn ask(self: Arc<Self>, body: Bytes) -> Answering {
        let mut request = Request::new(Inbound::Message(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.fields.clone();
        Box::pin(
            async move { self.gateway.answer(request, &self.peer, self.scheme, Some(&self.bound)).await },
        )
    }
}
