//! Header fields as functions have them in whole messages, and as the host has them. The rules are those of
//! `wasi:http/types.fields`.

use crate::state::FIELDS_BYTES_MAX;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

/// A field as a function has it.
pub(super) type Field = (String, Vec<u8>);

/// What a function gets to see.
pub(super) fn shown(headers: &HeaderMap) -> Vec<Field> {
    let fields = headers.iter().filter(|(name, _value)| !DEFAULT_FORBIDDEN_HEADERS.contains(name));
    fields.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// What a function has set.
///
/// # Errors
/// What is wrong with which field.
pub(super) fn set_by_function(fields: Vec<Field>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 1);
    let mut bytes = 0;
    for (name, value) in fields {
        bytes += name.len() + value.len();
        if bytes > FIELDS_BYTES_MAX {
            return Err(format!("its header fields take more than {FIELDS_BYTES_MAX} bytes"));
        }
        let known = HeaderName::from_bytes(name.as_bytes());
        let known =
            known.map_err(|_invalid| format!("`{}` is no name of a header field", name.escape_debug()))?;
        if DEFAULT_FORBIDDEN_HEADERS.contains(&known) {
            return Err(format!("the header field `{known}` is not a function's to set"));
        }
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        let value =
            value.map_err(|_invalid| format!("the header field `{known}` has a value that none can have"))?;
        headers.append(known, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        (name.to_owned(), value.as_bytes().to_vec())
    }

    #[test]
    fn fields_are_taken_and_shown_but_for_those_of_the_host() {
        let set = [field("Accept", "a"), field("accept", "b"), field("x-own", "c")].to_vec();
        let mut headers = set_by_function(set).unwrap();
        headers.insert("connection", HeaderValue::from_static("close"));
        assert_eq!(shown(&headers), [field("accept", "a"), field("accept", "b"), field("x-own", "c")]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        for (fields, told) in [
            (
                [field("transfer-encoding", "chunked")],
                "the header field `transfer-encoding` is not a function's to set",
            ),
            ([field("Host", "elsewhere")], "the header field `host` is not a function's to set"),
            ([field("a b", "c")], "`a b` is no name of a header field"),
            ([field("x-own", "a\r\nb: c")], "the header field `x-own` has a value that none can have"),
            ([field("x-own", &"c".repeat(FIELDS_BYTES_MAX))], "its header fields take more than 65536 bytes"),
        ] {
            assert_eq!(set_by_function(fields.to_vec()).unwrap_err(), told);
        }
    }
}
