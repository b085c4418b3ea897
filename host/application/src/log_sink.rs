//! What functions print, led to the log with tenant, function, instance and request.

use std::sync::Arc;
use waggle_engine::{CallContext, LogSink, LogStream, LogWriter};
use waggle_measure::trace::{SpanId, TraceId};
use waggle_telemetry::{
    FunctionLog, LINES_PER_SECOND_DEFAULT, LineBudget, LogRequest, LogSource, TenantLogFile,
};

/// The log of one (tenant, function); its instances share one budget of lines.
pub(crate) struct FunctionLogs {
    tenant: Arc<str>,
    function: Arc<str>,
    budget: Arc<LineBudget>,
    file: Option<Arc<TenantLogFile>>,
    is_quiet: bool,
}

impl FunctionLogs {
    /// `is_quiet`: what the function prints goes to `file` only.
    pub(crate) fn new(
        tenant: &str,
        function: &str,
        file: Option<Arc<TenantLogFile>>,
        is_quiet: bool,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            function: function.into(),
            budget: Arc::new(LineBudget::new(LINES_PER_SECOND_DEFAULT)),
            file,
            is_quiet,
        }
    }
}

impl LogSink for FunctionLogs {
    fn open(&self, instance: u64, stream: LogStream) -> Box<dyn LogWriter> {
        let source =
            LogSource { tenant: Arc::clone(&self.tenant), function: Arc::clone(&self.function), instance };
        let stream = match stream {
            LogStream::Out => waggle_telemetry::LogStream::Stdout,
            LogStream::Error => waggle_telemetry::LogStream::Stderr,
        };
        let budget = Arc::clone(&self.budget);
        match (&self.file, self.is_quiet) {
            (None, true) => Box::new(Silence),
            (Some(file), true) => {
                Box::new(InstanceLog(FunctionLog::to_file(source, stream, budget, Arc::clone(file))))
            }
            (file, false) => {
                Box::new(InstanceLog(FunctionLog::with_file(source, stream, budget, file.clone())))
            }
        }
    }
}

/// What is left of a line goes to the log when the last of the instance's streams is dropped; `FunctionLog` sees to it.
struct InstanceLog(FunctionLog);

impl LogWriter for InstanceLog {
    fn write(&self, request: Option<&CallContext>, bytes: &[u8]) {
        self.0.set_request(
            request.map(|request| LogRequest { id: Arc::clone(&request.request_id), trace: trace(request) }),
        );
        self.0.write(bytes);
    }
}

/// Drops what functions print: `--quiet`.
struct Silence;

impl LogWriter for Silence {
    fn write(&self, _request: Option<&CallContext>, _bytes: &[u8]) {}
}

/// Where in its trace a request is, if that is recorded.
fn trace(request: &CallContext) -> Option<(TraceId, SpanId)> {
    let context = request.span.context().filter(|_| request.span.is_recorded())?;
    Some((context.trace_id(), context.span_id()))
}
