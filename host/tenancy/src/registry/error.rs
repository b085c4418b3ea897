//! Why a change to a tenant was not made.

use super::StoreFailure;
use crate::{ChangeRefused, Conflict, ConflictOn, FieldMistake, Origin, SealingError, TenantId};

/// Why a change was not made; what was in force is still so.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The id is taken.
    #[error("there is already a tenant `{0}`")]
    Exists(TenantId),
    /// No such tenant.
    #[error("there is no tenant `{0}`")]
    NotFound(TenantId),
    /// No such key.
    #[error("the tenant has no API key `wk_{0}`")]
    KeyNotFound(String),
    /// It is changed elsewhere.
    #[error("the tenant `{0}` is written in tenants.toml; change it there")]
    FromFile(TenantId),
    /// Fields are not as they must be.
    #[error("{}", sentences(.0))]
    Invalid(Vec<FieldMistake>),
    /// Another tenant has what this one wants.
    #[error("{}", sentences(.0))]
    Conflict(Vec<Conflict>),
    /// It has changed since.
    #[error("the tenant is at revision {current}, not at {asked}; read it again and repeat the change")]
    RevisionMismatch {
        /// The revision that the change was made from.
        asked: u64,
        /// The revision there is.
        current: u64,
    },
    /// Others change it all the time.
    #[error("the tenant `{0}` is being changed by others; try again")]
    Contended(TenantId),
    /// Its record cannot be read, so that it cannot be changed, only removed.
    #[error("what is stored of the tenant `{0}` cannot be read; it can only be removed")]
    Unreadable(TenantId),
    /// Its secrets cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store did not do its part. A change may have been written nevertheless.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl From<ChangeRefused> for RegistryError {
    fn from(refused: ChangeRefused) -> Self {
        let in_file =
            |conflict: &&Conflict| conflict.on == ConflictOn::Id && conflict.first.0 == Origin::File;
        if let Some(conflict) = refused.conflicts.iter().find(in_file) {
            return Self::FromFile(conflict.first.1.clone());
        }
        if !refused.conflicts.is_empty() {
            return Self::Conflict(refused.conflicts);
        }
        Self::Invalid(refused.mistakes.into_iter().map(|(_, mistake)| mistake).collect())
    }
}

fn sentences<T: ToString>(parts: &[T]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
