//! What is different between one signal and another; all else of the export is the same.

/// A kind of telemetry that OTLP carries.
pub(crate) trait Signal: 'static {
    /// One of what is sent.
    type Record: Send + 'static;

    const NAMES: SignalNames;

    /// About how many bytes a record takes when it is encoded, at most a few hundred too low. A batch is bounded by it.
    fn bytes(record: &Self::Record) -> usize;

    /// A request of the collector's, encoded. `resource` is what is said of the process.
    fn encode(batch: Vec<Self::Record>, resource: &[(String, String)]) -> Vec<u8>;

    /// How many records a collector rejected that took the others, by its answer. What cannot be read says nothing.
    fn rejected(answer: &[u8]) -> u64;
}

/// How a signal is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalNames {
    /// As in `[telemetry.SIGNAL]`, in the path `v1/SIGNAL` of OTLP/HTTP, and of the thread that sends.
    pub(crate) signal: &'static str,
    /// As in `OTEL_EXPORTER_OTLP_SIGNAL_ENDPOINT`.
    pub(crate) variable: &'static str,
    /// The path of OTLP/gRPC.
    pub(crate) grpc_path: &'static str,
    /// One of many, as in `queue_RECORDS_max`.
    pub(crate) records: &'static str,
    /// The variable that bounds the queue.
    pub(crate) queue_variable: &'static str,
    pub(crate) queue_records_default: usize,
}
