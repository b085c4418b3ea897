//! Spans as OTLP has them.

use crate::otlp::{Signal, SignalNames, any, nanoseconds, pair, resource, scope, text_bytes};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind as Kind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use std::time::UNIX_EPOCH;
use waggle_measure::trace::{FinishedSpan, SpanKind};

/// The conventions by which attributes are named.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";
/// Flags of a span: it is recorded; it is known whether the parent is remote; the parent is remote.
const SAMPLED: u32 = 0x001;
const REMOTE_IS_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// About the bytes of a span without its attributes and events, and of each of them without its text.
const SPAN_BYTES: usize = 256;
const ATTRIBUTE_BYTES: usize = 48;

/// The signal: spans that have ended.
pub(crate) struct Spans;

impl Signal for Spans {
    type Record = FinishedSpan;

    const NAMES: SignalNames = SignalNames {
        signal: "traces",
        variable: "TRACES",
        grpc_path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        records: "spans",
        queue_variable: "OTEL_BSP_MAX_QUEUE_SIZE",
        queue_records_default: 8_192,
    };

    fn bytes(span: &FinishedSpan) -> usize {
        let parts = span.attributes.len() + span.events.len();
        SPAN_BYTES + ATTRIBUTE_BYTES * parts + text_bytes(&span.attributes)
    }

    fn encode(batch: Vec<FinishedSpan>, attributes: &[(String, String)]) -> Vec<u8> {
        let scope_spans = ScopeSpans {
            scope: Some(scope("waggle")),
            spans: batch.into_iter().map(encoded).collect(),
            schema_url: SCHEMA_URL.to_owned(),
        };
        let resource_spans = ResourceSpans {
            resource: Some(resource(attributes)),
            scope_spans: vec![scope_spans],
            schema_url: SCHEMA_URL.to_owned(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
    }

    fn rejected(answer: &[u8]) -> u64 {
        let answer = ExportTraceServiceResponse::decode(answer).ok();
        let partial = answer.and_then(|answer| answer.partial_success);
        partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
    }
}

fn encoded(span: FinishedSpan) -> Span {
    let start = span.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let remote = if span.parent_is_remote { REMOTE } else { 0 };
    let event = |event: waggle_measure::trace::Event| Event {
        time_unix_nano: nanoseconds(start + event.after),
        name: event.name.to_owned(),
        ..Event::default()
    };
    Span {
        trace_id: span.context.trace_id().to_bytes().to_vec(),
        span_id: span.context.span_id().to_bytes().to_vec(),
        trace_state: span.context.tracestate().unwrap_or_default().to_owned(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.to_bytes().to_vec()),
        flags: SAMPLED | REMOTE_IS_KNOWN | remote,
        name: span.name.into_owned(),
        kind: kind(span.kind).into(),
        start_time_unix_nano: nanoseconds(start),
        end_time_unix_nano: nanoseconds(start + span.duration),
        attributes: span.attributes.into_iter().map(|(name, value)| pair(name, any(value))).collect(),
        dropped_attributes_count: span.attributes_left_out,
        events: span.events.into_iter().map(event).collect(),
        dropped_events_count: span.events_left_out,
        status: span
            .error
            .map(|message| Status { message: message.into_owned(), code: StatusCode::Error.into() }),
        ..Span::default()
    }
}

fn kind(kind: SpanKind) -> Kind {
    match kind {
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
    }
}
