//! Tenants: who is calling and what they may use.

mod api_key;
mod caller;
mod client_address;
mod directory;
mod door;
mod issuer;
mod jwt;
mod limits;
mod meter;
mod registry;
mod secret_source;
mod tenant;
mod tenant_id;

pub use api_key::ApiKey;
pub use client_address::{
    FORWARDED_HOPS_MAX, TRUSTED_PROXIES_MAX, TrustedProxies, TrustedProxyError, client_address,
};
pub use issuer::Issuer;
pub use limits::Limits;
pub use meter::{
    ADDRESSES_MAX, AddressMeter, Admitted, Exceeded, Meter, RATE_LIMIT, RATE_LIMIT_POLICY, RateLimitFields,
    RateState, TOKENS_DEBT_MINUTES_MAX, WAIT_MS_MAX_DEFAULT, WAITING_REQUESTS_MAX_DEFAULT, rate_limit_fields,
};
pub use secret_source::SecretSource;
pub use tenant::{Isolation, Tenant, TenantSettings, TenantState, UpstreamSecret};
pub use tenant_id::{DEFAULT_TENANT, TENANT_ID_BYTES_MAX, TenantId, TenantIdError};

/// The most bytes of a tenant's name, and of a key's.
pub const NAME_BYTES_MAX: usize = 200;
