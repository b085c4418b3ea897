//! What every backend promises, run against the embedded one in all its forms.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "suite.rs"]
mod suite;

use suite::*;
use waggle_vector::{Embedded, EmbeddedConfig, Quantization};

async fn embedded(config: EmbeddedConfig) -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    Some(Fixture::new(Embedded::open(folder.path(), config).unwrap(), folder))
}

async fn with_a_graph() -> Option<Fixture> {
    let quantization = Quantization::None;
    embedded(EmbeddedConfig { exact_chunks_max: 0, quantization, ..EmbeddedConfig::default() }).await
}

async fn always_put_away() -> Option<Fixture> {
    embedded(EmbeddedConfig { memory_bytes_max: 0, ..EmbeddedConfig::default() }).await
}

contract!(embedded, crate::embedded(crate::EmbeddedConfig::default()));
contract!(embedded_with_a_graph, crate::with_a_graph());
contract!(embedded_that_is_always_put_away, crate::always_put_away());
