//! What every backend promises, run against a real PostgreSQL with pgvector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod own;
#[path = "../support/server.rs"]
mod server;
#[macro_use]
#[path = "../../../vector/tests/contract/suite.rs"]
mod suite;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use suite::*;
use waggle_vector::{PostgresConfig, VectorConfig};
use waggle_vector_postgres::Postgres;

const START_DEADLINE: Duration = Duration::from_secs(60);

/// Tables of its own on the one server.
fn config() -> Option<PostgresConfig> {
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let schema = format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let config = PostgresConfig { schema, connections_max: 4, ..PostgresConfig::at(server::url()?) };
    let whole = VectorConfig { postgres: Some(config.clone()), ..VectorConfig::default() };
    assert_eq!(whole.validate(), Ok(()));
    Some(config)
}

async fn open(config: &PostgresConfig) -> Postgres {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        // A server that listens may still be starting.
        match Postgres::open(config).await {
            Ok(opened) => return opened,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn postgres() -> Option<Fixture> {
    Some(Fixture::new(open(&config()?).await, ()))
}

contract!(postgres, crate::postgres());
