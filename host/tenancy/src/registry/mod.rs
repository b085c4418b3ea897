//! Changes to tenants: checked, written to the store, in force at once.
