//! spin.toml and the runtime configuration: parse, validate, explain what is wrong and where.
