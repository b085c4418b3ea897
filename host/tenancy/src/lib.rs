//! Tenants: who is calling and what they may use. For now it names them; it never decides by itself who is calling.

mod tenant_id;

pub use tenant_id::{DEFAULT_TENANT, TENANT_ID_BYTES_MAX, TenantId, TenantIdError};
