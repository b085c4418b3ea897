//! What only the application knows of tenants' settings.

use crate::{FieldMistake, Tenant};
use std::sync::Arc;

/// What the application finds wrong with a tenant, such as a function that does not exist. It is given the variables'
/// values as they will be used; those that this host's key does not open are left out.
pub type TenantCheck = Arc<dyn Fn(&Tenant) -> Vec<FieldMistake> + Send + Sync>;

/// Whether the application declares the variable of that name as secret.
pub type SecretVariables = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the registry asks of the application.
#[derive(Clone)]
pub struct TenantRules {
    /// What is wrong with a tenant.
    pub check: TenantCheck,
    /// Which variables are sealed before they are written.
    pub secret_variables: SecretVariables,
}
