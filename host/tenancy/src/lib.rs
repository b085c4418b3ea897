//! Tenants: who is calling and what they may use.

mod api_key;
mod caller;
mod directory;
mod door;
mod issuer;
mod jwt;
mod limits;
mod meter;
mod registry;
mod sealing;
mod secret_source;
mod tenant;
mod tenant_id;
#[cfg(test)]
mod testing;

pub use api_key::{API_KEY_ID_BYTES, API_KEY_PREFIX, ApiKey};
pub use caller::Caller;
pub use directory::{
    Change, ChangeRefused, Conflict, ConflictOn, Directory, DirectoryConfig, OnChange, Origin, TenantEntry,
};
pub use door::{CREDENTIAL_BYTES_MAX, Denied, Door, VERIFIED_TOKEN_S_MAX, VERIFIED_TOKENS_MAX};
pub use issuer::Issuer;
pub use jwt::{Claims, FetchedJwks, IssuerEntry, JwksFetch, TokenError, TokenIssuers};
pub use limits::Limits;
pub use meter::Meter;
pub use registry::{
    MemoryTenantStore, NewKey, Registry, RegistryError, STORE_WAIT_MS_MAX, StoreFailure, StoredTenant,
    TenantCheck, TenantStore, TenantView, WriteFailure,
};
pub use sealing::{SEALING_KEY_BYTES, SealedText, SealingError, SealingKey};
pub use secret_source::{SECRET_BYTES_MAX, SecretError, SecretSource};
pub use tenant::{
    API_KEYS_MAX, FieldMistake, ISSUERS_MAX, Isolation, LIST_ENTRIES_MAX, LIST_ENTRY_BYTES_MAX,
    SCOPE_BYTES_MAX, SCOPES_MAX, SECRETS_MAX, Tenant, TenantSettings, TenantState, UpstreamSecret,
    VARIABLE_BYTES_MAX, VARIABLES_MAX,
};
pub use tenant_id::{DEFAULT_TENANT, TENANT_ID_BYTES_MAX, TenantId, TenantIdError};

/// The most bytes of a tenant's name, and of a key's.
pub const NAME_BYTES_MAX: usize = 200;
