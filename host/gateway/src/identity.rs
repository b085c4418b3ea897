//! Who is calling, as functions are told: header fields that only the host can set.

use crate::error::Refusal;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use waggle_engine::CallerFields;
use waggle_tenancy::{Caller, Denied};

/// The tenant's end user; absent when the tenant's own service calls.
const USER: HeaderName = HeaderName::from_static("waggle-user");
/// The session that the token names.
const SESSION: HeaderName = HeaderName::from_static("waggle-session");
/// What the credential allows, separated by spaces.
const SCOPES: HeaderName = HeaderName::from_static("waggle-scopes");

/// The fields for `caller`.
///
/// # Errors
/// When a name cannot be a field's value: without it the caller would pass for the tenant's own service.
pub(crate) fn fields(caller: &Caller) -> Result<CallerFields, Refusal> {
    let scopes = Some(&caller.scopes).filter(|scopes| !scopes.is_empty());
    let named = [(USER, caller.user.as_ref()), (SESSION, caller.session.as_ref()), (SCOPES, scopes)];
    let fields = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    fields
        .map(|(name, value)| match HeaderValue::from_str(value) {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Refusal::denied(&Denied::Malformed)),
        })
        .collect()
}

/// Puts `fields` on a request.
pub(crate) fn introduce(headers: &mut HeaderMap, fields: &CallerFields) {
    for (name, value) in fields.iter() {
        headers.insert(name.clone(), value.clone());
    }
}

/// Takes the credential off a request, once it is known whose it is: it is the tenant's, and no function's business.
pub(crate) fn take_credential(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
}
