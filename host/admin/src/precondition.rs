//! `ETag` and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1): a change that is made on what was seen, or not at all.

use crate::problem::Problem;
use http::StatusCode;
use http::header::HeaderValue;

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// Whether the fields `If-Match`, if there are any, allow a change of `revision`.
///
/// # Errors
/// 412 when none of the tags is that of `revision`. A weak tag never is.
pub(crate) fn check(if_match: &[HeaderValue], revision: u64) -> Result<(), Problem> {
    let current = etag(revision);
    let matches = |field: &HeaderValue| {
        let tags = field.to_str().unwrap_or_default().split(',').map(str::trim);
        tags.into_iter().any(|tag| tag == "*" || tag == current)
    };
    if if_match.is_empty() || if_match.iter().any(matches) { Ok(()) } else { Err(changed()) }
}

/// The tenant is not as it was seen.
pub(crate) fn changed() -> Problem {
    let detail = "The tenant has been changed since; read it again and repeat the change.";
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_revision_matches() {
        let check = |fields: &[&'static str], expected: bool| {
            let fields: Vec<_> = fields.iter().map(|field| HeaderValue::from_static(field)).collect();
            assert_eq!(super::check(&fields, 7).is_ok(), expected, "{fields:?}");
        };
        check(&[], true);
        check(&["*"], true);
        check(&["\"7\""], true);
        check(&["\"6\" , \"7\""], true);
        check(&["\"6\"", "\"7\""], true);
        check(&["\"6\""], false);
        check(&["W/\"7\""], false);
        check(&["7"], false);
        check(&[""], false);
    }
}
