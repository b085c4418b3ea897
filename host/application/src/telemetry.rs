//! What leaves the host about requests, spans, the log and the access log: started with it, written out at its end.

use crate::access::Access;
use crate::error::StartError;
use crate::plan::Plan;
use std::sync::Arc;
use std::time::Duration;
use waggle_gateway::{AccessSink, GatewayMetrics, Observers};
use waggle_measure::TopTenants;
use waggle_measure::trace::Tracer;
use waggle_telemetry::access_log::{AccessLog, AccessLogWriter};
use waggle_telemetry::logs::Logs;
use waggle_telemetry::metrics::Source;
use waggle_telemetry::otlp::Process;
use waggle_telemetry::traces::Traces;

/// How long the end of the program may wait for a collector or a disk.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// The exporters, while they run.
pub(crate) struct Telemetry {
    tracer: Tracer,
    traces: Option<Traces>,
    logs: Option<Logs>,
    access: Option<(Arc<Access>, AccessLogWriter)>,
}

impl Telemetry {
    /// Starts what `[telemetry]` and the environment ask for.
    ///
    /// # Errors
    /// What cannot be understood, read or written.
    pub(crate) fn start(plan: &Plan) -> Result<Self, StartError> {
        let failed = |reason: String| StartError::Telemetry { reason };
        let folder = &plan.configuration_dir;
        let name = plan.telemetry.traces.service_name.as_deref();
        let process = Process::new(env!("CARGO_PKG_VERSION"), name);
        let (tracer, traces) = Traces::start(&plan.telemetry.traces, folder, &process)
            .map_err(|error| failed(error.to_string()))?;
        let logs =
            Logs::start(&plan.telemetry.logs, folder, &process).map_err(|error| failed(error.to_string()))?;
        if logs.is_none() && plan.telemetry.access_log.needs_logs() {
            return Err(failed(
                "`access_log.output` is otlp, but logs go to no collector; give [telemetry.logs] an `endpoint`"
                    .to_owned(),
            ));
        }
        let (log, writer) = AccessLog::start(&plan.telemetry.access_log, folder)
            .map_err(|error| failed(error.to_string()))?;
        let access = writer.map(|writer| (Access::new(log), writer));
        Ok(Self { tracer, traces, logs, access })
    }

    /// Whom the gateway tells of requests.
    pub(crate) fn observers(&self, tenants: Arc<TopTenants>) -> Observers {
        let access = self.access.as_ref().map(|(access, _)| Arc::clone(access) as Arc<dyn AccessSink>);
        Observers { tenants, tracer: self.tracer.clone(), access }
    }

    /// Learns the names of the routes.
    pub(crate) fn learn(&self, metrics: &GatewayMetrics) {
        if let Some((access, _)) = &self.access {
            access.learn(metrics);
        }
    }

    /// What it counts of itself.
    pub(crate) fn sources(&self) -> Vec<Box<dyn Source>> {
        let traces = self.traces.as_ref().map(Traces::source);
        let logs = self.logs.as_ref().map(Logs::source);
        let access = self.access.as_ref().map(|(_, writer)| writer.source());
        traces.into_iter().chain(logs).chain(access).collect()
    }

    /// Writes what is left, for a bounded time.
    pub(crate) async fn stop(self) {
        let Self { traces, logs, access, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            let traces = traces.is_none_or(|traces| traces.shutdown(SHUTDOWN_MAX));
            let access = access.is_none_or(|(_, writer)| writer.shutdown(SHUTDOWN_MAX));
            traces && access
        });
        if !ended.await.unwrap_or(false) {
            tracing::warn!("not all spans or lines of the access log could be written in time");
        }
        // Last, so that what the others had to say goes there as well.
        let ended = tokio::task::spawn_blocking(move || logs.is_none_or(|logs| logs.shutdown(SHUTDOWN_MAX)));
        if !ended.await.unwrap_or(false) {
            tracing::warn!("not all records of the log could be sent in time");
        }
    }
}
