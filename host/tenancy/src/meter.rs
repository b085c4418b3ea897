//! What a tenant is using up at this moment.
