//! Refusals: RFC 9457 problem details, with every mistake of a body in its place. What the log holds is another message.

use crate::answer::Answer;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a refusal.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// The most mistakes told at once.
pub(crate) const MISTAKES_MAX: usize = 100;

/// A refusal. Boxed, since every step on a request's way may return one.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

/// Why a request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details {
    /// `about:blank`: the status says what kind it is, `code` says which one.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A word for programs.
    code: &'static str,
    /// A sentence for people: what was wrong and what to do.
    detail: String,
    /// Each mistake and where it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    errors: Vec<Mistake>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One mistake of a request: in its body (`pointer`) or in its query (`parameter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Mistake {
    /// Where it stands in the body (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The query's parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// What is wrong and what is expected.
    pub(crate) detail: String,
}

impl Mistake {
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), detail: detail.into() }
    }
}

/// A step of a JSON pointer, escaped (RFC 6901, section 3).
pub(crate) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// A body that was read but cannot be taken, with all that is wrong with it.
    pub(crate) fn invalid(mut mistakes: Vec<Mistake>) -> Self {
        let count = mistakes.len();
        mistakes.truncate(MISTAKES_MAX);
        let detail = match count {
            1 => "The body has a mistake; nothing was changed.".to_owned(),
            _ => format!("The body has {count} mistakes; nothing was changed."),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail);
        problem.0.errors = mistakes;
        problem
    }

    pub(crate) fn query(mistakes: Vec<Mistake>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_query", "The query has mistakes.");
        problem.0.errors = mistakes;
        problem
    }

    /// For what cannot be told to a client: `cause` goes to the log.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(target: "admin", %cause, "a request failed inside");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed inside; its log says why.",
        )
    }

    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with(header::RETRY_AFTER, "1")
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        // Values are ours; one that is no field value would be a mistake here, and is left out rather than panicked on.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }
}

impl From<Problem> for Answer {
    fn from(Problem(mut details): Problem) -> Self {
        let status = StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = std::mem::take(&mut details.headers);
        let mut answer = Answer::json(status, &details);
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        answer.headers_mut().extend(headers);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointers_step_is_escaped() {
        assert_eq!(step("a/b~c"), "/a~1b~0c");
    }

    #[test]
    fn mistakes_are_counted_even_when_not_all_are_told() {
        let problem = Problem::invalid(vec![Mistake::at("/a", "b"); MISTAKES_MAX + 1]);
        assert_eq!(problem.0.errors.len(), MISTAKES_MAX);
        assert!(problem.0.detail.contains("101"), "{}", problem.0.detail);
    }
}
