//! Calls from one function to another of the same application.

/// A call of another function: a POST of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourCall<'a> {
    /// The function, by its name in the manifest.
    pub function: &'a str,
    /// The path of its route, with a slash in front.
    pub path: &'a str,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the first byte of its answer, and between any two, in milliseconds.
    pub timeout_ms: u64,
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
