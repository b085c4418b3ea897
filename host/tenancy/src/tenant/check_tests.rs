//! The checks of a tenant's settings.
