//! Logs: what the operator reads. [`init`] starts the log of the process; [`FunctionLog`] brings into it what a function
//! writes to its standard output and error, bounded, so that no function can flood it or forge its lines.

mod budget;
mod function_log;
mod line;
mod log;
#[cfg(test)]
mod testing;

pub use budget::{LINES_PER_SECOND_DEFAULT, LineBudget};
pub use function_log::{FUNCTION_LOG_TARGET, FunctionLog, LogSource, LogStream};
pub use line::LINE_BYTES_MAX;
pub use log::{FILTER_VARIABLE, LogError, LogFormat, LogOptions, init};
pub use tracing::Level;
