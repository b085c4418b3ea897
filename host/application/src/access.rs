//! The access log: what the gateway tells of a request, as telemetry writes it.

use std::sync::{Arc, OnceLock};
use waggle_gateway::{AccessSink, EndedRequest, GatewayMetrics, RequestOutcome};
use waggle_telemetry::access_log::{AccessLog, AccessRecord, Outcome};

/// What is written for a client that went away before there was a status, as many servers do.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The access log of a gateway, which knows the names of routes.
pub(crate) struct Access {
    log: AccessLog,
    names: OnceLock<Vec<(Arc<str>, Arc<str>)>>,
}

impl Access {
    pub(crate) fn new(log: AccessLog) -> Arc<Self> {
        Arc::new(Self { log, names: OnceLock::new() })
    }

    /// Learns the routes, once the gateway is made.
    pub(crate) fn learn(&self, metrics: &GatewayMetrics) {
        let names = metrics.routes().iter().map(|of| (of.route.as_str().into(), of.function.as_str().into()));
        // There is one gateway.
        let _ = self.names.set(names.collect());
    }
}

impl AccessSink for Access {
    fn log(&self, request: EndedRequest) {
        let names = request.route.and_then(|number| self.names.get()?.get(number));
        self.log.log(AccessRecord {
            time: request.time,
            request: request.request_id,
            client: Some(request.client),
            tenant: request.tenant.map(|tenant| tenant.as_str().into()),
            method: request.method,
            path: AccessRecord::path_of(&request.path),
            version: match request.version {
                http::Version::HTTP_2 => "2",
                http::Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            route: names.map(|(route, _)| Arc::clone(route)),
            function: names.map(|(_, function)| Arc::clone(function)),
            status: request.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()),
            outcome: match request.outcome {
                RequestOutcome::Complete => Outcome::Complete,
                RequestOutcome::Cancelled => Outcome::Cancelled,
                RequestOutcome::Broken => Outcome::Broken,
            },
            request_bytes: request.request_bytes,
            response_bytes: request.response_bytes,
            head: request.head,
            duration: request.duration,
            trace: request.trace,
        });
    }
}
