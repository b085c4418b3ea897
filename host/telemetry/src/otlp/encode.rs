//! The parts of OTLP's messages that all signals have.

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::borrow::Cow;
use std::time::Duration;
use waggle_measure::trace::Value;

pub(crate) fn resource(attributes: &[(String, String)]) -> Resource {
    let attributes = attributes.iter().map(|(name, value)| pair(name, AnyKind::StringValue(value.clone())));
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

pub(crate) fn scope(name: impl Into<String>) -> InstrumentationScope {
    InstrumentationScope { name: name.into(), ..InstrumentationScope::default() }
}

pub(crate) fn pair(name: &str, value: AnyKind) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn any(value: Value) -> AnyKind {
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

/// The bytes of the texts in attributes.
pub(crate) fn text_bytes<N>(attributes: &[(N, Value)]) -> usize {
    let bytes = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Texts(texts) => texts.iter().map(|text| text.len()).sum(),
        Value::Integer(_) | Value::Real(_) | Value::Boolean(_) => 0,
    };
    attributes.iter().map(|(_, value)| bytes(value)).sum()
}

/// Since 1970, until the year 2554.
pub(crate) fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
