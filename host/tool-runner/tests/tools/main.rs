//! Real components, called: those of `tests/guests` that are named `tool_*`.

mod hostile;
mod inspection;
mod orders;
mod plain;
mod support;
