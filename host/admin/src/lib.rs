//! The admin API: tenants and their keys, on a listener of its own, with a credential of its own.
