//! The export against collectors that work, and against all kinds that do not.
