//! Who is calling, once that is known.

use crate::directory::TenantEntry;
use std::sync::Arc;

/// A request's caller. Made by [`crate::Door`] only, so that whoever has one may rely on it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Caller {
    /// The tenant, as it was when the caller was recognised.
    pub tenant: Arc<TenantEntry>,
    /// The tenant's end user; none for the tenant's own services, which may read all that is the tenant's.
    pub user: Option<Arc<str>>,
    /// The session the token names.
    pub session: Option<Arc<str>>,
    /// What the credential allows, separated by spaces (RFC 6749, section 3.3).
    pub scopes: Arc<str>,
}
