//! Records of the log as OTLP has them.

use super::record::LogRecord;
use crate::otlp::{Signal, SignalNames, any, nanoseconds, pair, resource, scope, text_bytes};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::logs::v1::{LogRecord as Encoded, ResourceLogs, ScopeLogs};
use prost::Message as _;
use std::time::UNIX_EPOCH;

/// The flag of a record whose trace is recorded.
const SAMPLED: u32 = 0x1;
/// About the bytes of a record without its texts, and of an attribute.
const RECORD_BYTES: usize = 96;
const ATTRIBUTE_BYTES: usize = 32;

/// The signal: records of the log.
pub(crate) struct Records;

impl Signal for Records {
    type Record = LogRecord;

    const NAMES: SignalNames = SignalNames {
        signal: "logs",
        variable: "LOGS",
        grpc_path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        records: "records",
        queue_variable: "OTEL_BLRP_MAX_QUEUE_SIZE",
        queue_records_default: 4_096,
    };

    fn bytes(record: &LogRecord) -> usize {
        let attributes = &record.attributes;
        RECORD_BYTES + record.body.len() + ATTRIBUTE_BYTES * attributes.len() + text_bytes(attributes)
    }

    fn encode(batch: Vec<LogRecord>, attributes: &[(String, String)]) -> Vec<u8> {
        // A batch is of few parts of the program.
        let mut by_target: Vec<(&'static str, Vec<Encoded>)> = Vec::new();
        for record in batch {
            let target = record.target;
            let record = encoded(record);
            match by_target.iter_mut().find(|(present, _)| *present == target) {
                Some((_, records)) => records.push(record),
                None => by_target.push((target, vec![record])),
            }
        }
        let scope_logs = by_target.into_iter().map(|(target, log_records)| ScopeLogs {
            scope: Some(scope(target)),
            log_records,
            ..ScopeLogs::default()
        });
        let resource_logs = ResourceLogs {
            resource: Some(resource(attributes)),
            scope_logs: scope_logs.collect(),
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec()
    }

    fn rejected(answer: &[u8]) -> u64 {
        let answer = ExportLogsServiceResponse::decode(answer).ok();
        let partial = answer.and_then(|answer| answer.partial_success);
        partial.map_or(0, |partial| u64::try_from(partial.rejected_log_records).unwrap_or(0))
    }
}

fn encoded(record: LogRecord) -> Encoded {
    let time = nanoseconds(record.time.duration_since(UNIX_EPOCH).unwrap_or_default());
    Encoded {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: record.severity.number().into(),
        severity_text: record.severity.text().to_owned(),
        body: Some(AnyValue { value: Some(AnyKind::StringValue(record.body)) }),
        attributes: record.attributes.into_iter().map(|(name, value)| pair(name, any(value))).collect(),
        dropped_attributes_count: record.attributes_left_out,
        flags: if record.of.span.is_some() { SAMPLED } else { 0 },
        trace_id: record.of.trace.map_or_else(Vec::new, |id| id.to_vec()),
        span_id: record.of.span.map_or_else(Vec::new, |id| id.to_vec()),
        ..Encoded::default()
    }
}
