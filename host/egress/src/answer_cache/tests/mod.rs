//! What an asker sees, on a clock that only moves when everybody waits.

mod bounds;
mod keeping;
mod leaving;
mod sharing;
mod support;
mod sweeping;
