//! What a simulated model is started with.

use crate::behaviour::Behaviour;

/// The configuration of one simulated model.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// How requests are treated that ask for nothing else.
    pub behaviour: Behaviour,
    /// What `GET /v1/models` lists. Completions are answered for any model name.
    pub models: Vec<String>,
    /// The key requests must carry as `Authorization: Bearer KEY`; `None` accepts everything.
    pub api_key: Option<String>,
    /// Serve `/sim/stats`, `/sim/requests`, `/sim/keys` and `/sim/reset`.
    pub control: bool,
    /// How many requests `/sim/requests` remembers, with headers and body (authorization included).
    pub recorded_requests_max: usize,
    /// Bodies are remembered up to this many bytes.
    pub recorded_body_bytes_max: usize,
    /// A longer request body is answered with 413.
    pub body_bytes_max: usize,
    /// Connections held at once; further ones wait to be accepted.
    pub connections_max: usize,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::default(),
            models: vec!["sim".to_owned()],
            api_key: None,
            control: true,
            recorded_requests_max: 32,
            recorded_body_bytes_max: 65_536,
            body_bytes_max: 16 * 1024 * 1024,
            connections_max: 8_192,
        }
    }
}

impl SimConfig {
    /// For a built-in demo model that people talk to: nothing is recorded and `/sim/*` is not served.
    #[must_use]
    pub fn demo(model: impl Into<String>) -> Self {
        Self { models: vec![model.into()], control: false, recorded_requests_max: 0, ..Self::default() }
    }
}
