//! Spans as OTLP has them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind as Kind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};
use waggle_measure::trace::{FinishedSpan, SpanKind, Value};

/// The conventions by which attributes are named.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";
/// Flags of a span: it is recorded; it is known whether the parent is remote; the parent is remote.
const SAMPLED: u32 = 0x001;
const REMOTE_IS_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// A request of the collector's, encoded.
pub(super) fn request(spans: Vec<FinishedSpan>, resource: &[(String, String)]) -> Vec<u8> {
    let attributes = resource.iter().map(|(name, value)| pair(name, AnyKind::StringValue(value.clone())));
    let scope = InstrumentationScope { name: "waggle".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.into_iter().map(encoded).collect(),
        schema_url: SCHEMA_URL.to_owned(),
    };
    let resource_spans = ResourceSpans {
        resource: Some(Resource { attributes: attributes.collect(), ..Resource::default() }),
        scope_spans: vec![scope_spans],
        schema_url: SCHEMA_URL.to_owned(),
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
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

fn pair(name: &str, value: AnyKind) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn any(value: Value) -> AnyKind {
    let text = |text: Cow<'static, str>| AnyKind::StringValue(text.into_owned());
    match value {
        Value::Text(value) => text(value),
        Value::Texts(values) => AnyKind::ArrayValue(ArrayValue {
            values: values.into_iter().map(|value| AnyValue { value: Some(text(value)) }).collect(),
        }),
        Value::Integer(value) => AnyKind::IntValue(value),
        Value::Real(value) => AnyKind::DoubleValue(value),
        Value::Boolean(value) => AnyKind::BoolValue(value),
    }
}

/// Until the year 2554.
fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
