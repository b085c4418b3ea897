//! What the operator reads: logs, [`metrics`] and [`traces`]. Traces and [`logs`] go to a collector by OTLP ([`otlp`]).
//!
//! [`init`] starts the log of the process; [`FunctionLog`] brings into it what a function
//! writes to its standard output and error, bounded, so that no function can flood it or forge its lines. A tenant can
//! have that in a file of its own as well: [`TenantLogFiles`]. Requests have a log apart, [`access_log`].

pub mod access_log;
mod budget;
mod function_log;
mod line;
mod log;
pub mod logs;
pub mod metrics;
pub mod otlp;
mod tenant_files;
#[cfg(test)]
mod testing;
mod timestamp;
pub mod traces;

pub use budget::{LINES_PER_SECOND_DEFAULT, LineBudget};
pub use function_log::{FUNCTION_LOG_TARGET, FunctionLog, LogRequest, LogSource, LogStream};
pub use line::LINE_BYTES_MAX;
pub use log::{FILTER_VARIABLE, LogError, LogFormat, LogOptions, init};
pub use tenant_files::{LogFileError, LogFileSizes, TenantLogFile, TenantLogFiles};
pub use tracing::Level;
