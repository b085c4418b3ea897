//! What the server's errors mean for those who use indexes.

use deadpool_postgres::PoolError;
use std::{io, path::PathBuf};
use tokio_postgres::error::SqlState;
use waggle_vector::VectorError;

/// The server cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none. What the library says about it can quote the password, so it is left out.
    #[error("`postgres.url` in [vector] is not of the form postgresql://user@host:port/database")]
    Url,
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of certificates has something else, or none.
    #[error("{path} has no certificate that can be used: {reason}")]
    Roots {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The pool of connections cannot be made.
    #[error("the pool of connections: {0}")]
    Pool(String),
    /// The server does not answer, or refuses.
    #[error("PostgreSQL: {0}")]
    Server(VectorError),
    /// What it acknowledges could be lost in a crash.
    #[error("PostgreSQL has `synchronous_commit` off for this user or database; it must be on")]
    NotDurable,
}

/// What an error of the server or of the connection means.
pub(crate) fn of_server(error: &tokio_postgres::Error) -> VectorError {
    let Some(said) = error.as_db_error() else {
        return VectorError::Unavailable(format!("the connection to PostgreSQL: {error}"));
    };
    let text = format!("PostgreSQL says {}: {}", said.code().code(), said.message());
    if *said.code() == SqlState::DATA_CORRUPTED || *said.code() == SqlState::INDEX_CORRUPTED {
        return VectorError::Damaged(text);
    }
    // Connections, transactions that met, resources, an operator's intervention: these pass.
    match said.code().code().get(..2) {
        Some("08" | "40" | "53" | "55" | "57") => VectorError::Unavailable(text),
        _ => VectorError::Other(text),
    }
}

/// Why there is no connection.
pub(crate) fn of_pool(error: &PoolError) -> VectorError {
    match error {
        PoolError::Backend(error) => of_server(error),
        other => VectorError::Unavailable(format!("no connection to PostgreSQL: {other}")),
    }
}
