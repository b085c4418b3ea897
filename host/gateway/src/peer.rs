//! The other end of a connection, and whom a WebSocket of it belongs to.

use std::net::SocketAddr;
use std::sync::Arc;
use waggle_engine::ConnectionLane;
use waggle_listen::Place;
use waggle_measure::Held;
use waggle_tenancy::{Caller, TenantId};

/// Who sends requests by a connection, which counts as open until this is gone.
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) client: SocketAddr,
    /// The lane that requests make the connection's work belong to.
    pub(crate) lane: Arc<ConnectionLane>,
    _place: Place,
    _open: Held,
}

impl Peer {
    pub(crate) fn new(client: SocketAddr, lane: Arc<ConnectionLane>, place: Place, open: Held) -> Self {
        Self { client, lane, _place: place, _open: open }
    }
}

/// Whose turns a WebSocket brings: what it remembers is theirs, so a credential that has become another's brings no more.
pub(crate) struct Bound {
    tenant: TenantId,
    user: Option<Arc<str>>,
}

impl Bound {
    /// To whoever has opened it.
    pub(crate) fn to(caller: &Caller) -> Self {
        Self { tenant: caller.tenant.tenant.id.clone(), user: caller.user.clone() }
    }

    /// Whether `caller` is the same.
    pub(crate) fn allows(&self, caller: &Caller) -> bool {
        self.tenant == caller.tenant.tenant.id && self.user == caller.user
    }
}
