//! Tenants: who is calling and what they may use.

mod api_key;
mod budget;
mod caller;
mod client_address;
mod config;
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
mod variable;

pub use api_key::{API_KEY_ID_BYTES, API_KEY_PREFIX, ApiKey};
pub use budget::{
    Budget, BudgetClock, BudgetStore, BudgetStoreFailure, BudgetUnit, Budgets, Counted, CounterChange,
    CounterState, Estimate, MICROS_PER_UNIT, Money, MoneyError, OverBudget, Reservation,
};
pub use caller::Caller;
pub use client_address::{
    FORWARDED_HOPS_MAX, TRUSTED_PROXIES_MAX, TrustedProxies, TrustedProxyError, client_address,
};
pub use config::TenancyConfig;
pub use directory::{
    Change, ChangeRefused, Conflict, ConflictOn, Directory, DirectoryConfig, OnChange, Origin, TenantEntry,
};
pub use door::{CREDENTIAL_BYTES_MAX, Denied, Door, VERIFIED_TOKEN_S_MAX, VERIFIED_TOKENS_MAX};
pub use issuer::Issuer;
#[doc(hidden)]
pub use jwt::verify_signature;
pub use jwt::{
    Claims, FetchedJwks, ISSUERS_PER_TENANT_MAX, IssuerEntry, JwksFetch, MintError, MintRequest, SigningKey,
    TOKEN_BYTES_MAX, TokenError, TokenIssuers, mint,
};
pub use limits::Limits;
pub use meter::{
    ADDRESSES_MAX, AddressMeter, Admitted, Exceeded, Meter, RATE_LIMIT, RATE_LIMIT_POLICY, RateLimitFields,
    RateState, TOKENS_DEBT_MINUTES_MAX, WAIT_MS_MAX_DEFAULT, WAITING_REQUESTS_MAX_DEFAULT, rate_limit_fields,
};
pub use registry::{
    MemoryTenantStore, NewKey, Registry, RegistryError, STORE_WAIT_MS_MAX, SecretVariables, StoreFailure,
    StoredTenant, TenantCheck, TenantRules, TenantStore, TenantView, WriteFailure,
};
pub use sealing::{SEALING_KEY_BYTES, SealedText, SealingError, SealingKey};
pub use secret_source::{SECRET_BYTES_MAX, SecretError, SecretSource};
pub use tenant::{
    API_KEYS_MAX, FieldMistake, ISSUERS_MAX, Isolation, LIST_ENTRIES_MAX, LIST_ENTRY_BYTES_MAX,
    SCOPE_BYTES_MAX, SCOPES_MAX, SECRETS_MAX, Tenant, TenantSettings, TenantState, UpstreamSecret,
    VARIABLE_BYTES_MAX, VARIABLES_MAX,
};
pub use tenant_id::{DEFAULT_TENANT, TENANT_ID_BYTES_MAX, TenantId, TenantIdError};
pub use variable::TenantVariable;

/// The most bytes of a tenant's name, and of a key's.
pub const NAME_BYTES_MAX: usize = 200;
