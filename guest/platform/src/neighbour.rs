//! Calls from one function to another of the same application.

/// By which method another function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourMethod {
    /// `GET`, without a body.
    Get,
    /// `POST`, with a body of JSON.
    Post,
    /// `DELETE`, without a body.
    Delete,
}

/// A call of another function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourCall<'a> {
    /// By which method.
    pub method: NeighbourMethod,
    /// The function, by its name in the manifest.
    pub function: &'a str,
    /// The path of its route, with a slash in front, and the query.
    pub path: &'a str,
    /// The body; empty where the method has none.
    pub body: Vec<u8>,
    /// How long to wait for the first byte of its answer, and between any two, in milliseconds.
    pub timeout_ms: u64,
}

impl<'a> NeighbourCall<'a> {
    /// What is asked for at `path`.
    pub fn get(function: &'a str, path: &'a str, timeout_ms: u64) -> Self {
        Self { method: NeighbourMethod::Get, function, path, body: Vec::new(), timeout_ms }
    }

    /// JSON that is sent to `path`.
    pub fn post(function: &'a str, path: &'a str, body: Vec<u8>, timeout_ms: u64) -> Self {
        Self { method: NeighbourMethod::Post, function, path, body, timeout_ms }
    }

    /// What is at `path` is deleted.
    pub fn delete(function: &'a str, path: &'a str, timeout_ms: u64) -> Self {
        Self { method: NeighbourMethod::Delete, function, path, body: Vec::new(), timeout_ms }
    }
}

/// What the other function answered, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}
