//! The text formats. OpenMetrics 1.0 is written by `prometheus-client`, the reference implementation; Prometheus' older
//! format 0.0.4, which `curl` and older scrapers get, differs in the lines about families only, and is made from it.

use super::families::{Families, Family, Kind, Labels, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;

/// The family that says how many series there was no room for.
const LEFT_OUT: &str = "waggle_metrics_series_left_out";
/// No more than this of an `Accept` field is looked at.
const ACCEPT_RANGES_MAX: usize = 32;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.
    PrometheusText,
}

/// Metrics as text, and how to say what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub content_type: &'static str,
    pub text: String,
}

impl Format {
    /// What a client is given that sends this `Accept` field: OpenMetrics if it names that and does not like the other
    /// better, else Prometheus' text, which everybody can read. RFC 9110, section 12.5.1; a field that is malformed counts
    /// for what can be read of it.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or_default().split(',').take(ACCEPT_RANGES_MAX) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, "");
            for part in parts {
                match part.split_once('=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
                {
                    Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", value)) => version = value,
                    _ => {}
                }
            }
            match (kind.as_str(), version) {
                // 0.0.1 was the draft; what we write is valid for it too.
                ("application/openmetrics-text", "" | "1.0.0" | "0.0.1") => {
                    open_metrics = open_metrics.max(quality)
                }
                ("text/plain", "" | "0.0.4") | ("text/*" | "*/*", _) => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::PrometheusText }
    }

    /// The value of the `Content-Type` field.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::PrometheusText => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

pub(super) fn render(mut families: Families, format: Format) -> Rendered {
    let left_out = families.left_out();
    families.gauge(LEFT_OUT, "Series that had no room in this scrape").add(&[], left_out);
    let families = families.into_families();
    let kinds: BTreeMap<String, Kind> =
        families.iter().map(|(name, family)| (stem(name, family.kind).to_owned(), family.kind)).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathered(families)));
    let mut text = String::new();
    // Writing to a text does not fail; the encoder fails on values it cannot write, which end the text early.
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
        tracing::error!(%error, "the metrics could not be written whole");
    }
    let text = match format {
        Format::OpenMetrics => text,
        Format::PrometheusText => as_prometheus_text(&text, &kinds),
    };
    Rendered { content_type: format.content_type(), text }
}

/// The name of a family in OpenMetrics, whose series have the suffix that was cut off.
fn stem(name: &'static str, kind: Kind) -> &'static str {
    let suffix = suffix(kind);
    name.strip_suffix(suffix).unwrap_or(name)
}

fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    }
}

/// The families of a scrape, for the encoder.
#[derive(Debug)]
struct Gathered(BTreeMap<&'static str, Family>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, family) in &self.0 {
            if family.series.is_empty() {
                continue;
            }
            let stem = stem(name, family.kind);
            // The encoder puts the unit back on.
            let (bare, unit) = match (family.kind, stem.strip_suffix("_seconds"), stem.strip_suffix("_bytes"))
            {
                (Kind::Info, ..) | (_, None, None) => (stem, None),
                (_, Some(bare), _) => (bare, Some(Unit::Seconds)),
                (_, _, Some(bare)) => (bare, Some(Unit::Bytes)),
            };
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let mut metric = encoder.encode_descriptor(bare, family.help, unit.as_ref(), kind)?;
            for (labels, value) in &family.series {
                encode_series(&mut metric, family.kind, labels, value)?;
            }
        }
        Ok(())
    }
}

fn encode_series(metric: &mut MetricEncoder<'_>, kind: Kind, labels: &Labels, value: &Value) -> fmt::Result {
    if let Value::Info = value {
        return metric.encode_info(labels);
    }
    if labels.is_empty() {
        // A family without labels would be written with empty braces.
        return encode_value(metric, kind, value);
    }
    encode_value(&mut metric.encode_family(labels)?, kind, value)
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    use super::families::Number::{Natural, Real, Whole};
    match (kind, value) {
        (Kind::Counter, Value::Number(Natural(value))) => {
            metric.encode_counter::<NoLabelSet, u64, f64>(value, None)
        }
        (Kind::Counter, Value::Number(value)) => {
            metric.encode_counter::<NoLabelSet, f64, f64>(&value.real(), None)
        }
        (_, Value::Number(Natural(value))) => match i64::try_from(*value) {
            Ok(value) => metric.encode_gauge(&value),
            Err(_) => metric.encode_gauge(&Natural(*value).real()),
        },
        (_, Value::Number(Whole(value))) => metric.encode_gauge(value),
        (_, Value::Number(Real(value))) => metric.encode_gauge(value),
        (_, Value::Histogram(snapshot)) => {
            let buckets: Vec<(f64, u64)> = snapshot.buckets().collect();
            metric.encode_histogram::<NoLabelSet>(snapshot.sum_seconds(), snapshot.count(), &buckets, None)
        }
        (_, Value::Info) => Ok(()),
    }
}

/// Turns OpenMetrics into Prometheus' text 0.0.4: families are named as their series are, an info is a gauge, there are no
/// units and there is no mark of the end.
fn as_prometheus_text(open_metrics: &str, kinds: &BTreeMap<String, Kind>) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.split_inclusive('\n') {
        let Some(about) = line.strip_prefix("# ") else {
            text.push_str(line);
            continue;
        };
        let mut words = about.splitn(3, ' ');
        let (Some(word @ ("HELP" | "TYPE")), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let kind = kinds.get(name).copied();
        let rest = if word == "TYPE" && kind == Some(Kind::Info) { "gauge\n" } else { rest };
        for part in ["# ", word, " ", name, kind.map_or("", suffix), " ", rest] {
            text.push_str(part);
        }
    }
    text
}
