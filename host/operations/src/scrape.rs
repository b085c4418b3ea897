//! Metrics read again: what a program that shows a running host makes of `/metrics`, in either text format.

use std::collections::BTreeMap;

/// The most samples that are read.
pub const SAMPLES_MAX: usize = 1_000_000;

/// Why a text is no metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics cannot be read: {reason}")]
pub struct ScrapeError {
    /// From 1 on.
    pub line: usize,
    pub reason: &'static str,
}

/// The number of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    /// In the order in which they were written.
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// All numbers of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    by_name: BTreeMap<String, Vec<Sample>>,
}

impl Scrape {
    /// Reads a text. Comments, time stamps and exemplars are passed over.
    ///
    /// # Errors
    /// When a line is malformed, or there are more than [`SAMPLES_MAX`] samples.
    pub fn parse(text: &str) -> Result<Self, ScrapeError> {
        let mut scrape = Self::default();
        let mut count = 0;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            count += 1;
            let wrong = |reason| ScrapeError { line: index + 1, reason };
            if count > SAMPLES_MAX {
                return Err(wrong("there are too many samples"));
            }
            let sample = sample(line).map_err(wrong)?;
            scrape.by_name.entry(sample.name.clone()).or_default().push(sample);
        }
        Ok(scrape)
    }

    /// The samples of a name that have all these labels, whatever others they have.
    pub fn samples<'a>(
        &'a self,
        name: &str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> + use<'a> {
        let samples = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        samples
            .iter()
            .filter(move |sample| labels.iter().all(|(name, text)| sample.label(name) == Some(*text)))
    }

    /// Their sum; none if there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// Their sums by the text of a label; those without the label are left out.
    #[must_use]
    pub fn sums_by<'a>(
        &'a self,
        name: &str,
        label: &str,
        labels: &'a [(&'a str, &'a str)],
    ) -> BTreeMap<&'a str, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.samples(name, labels) {
            if let Some(text) = sample.label(label) {
                *sums.entry(text).or_insert(0.0) += sample.value;
            }
        }
        sums
    }

    /// The `quantile` (0 to 1) of a histogram's observations since `earlier`, or since the start without it: seconds,
    /// estimated within its bucket as Prometheus does; the last bound where it is longer than that. None without
    /// observations.
    #[must_use]
    pub fn quantile(
        &self,
        earlier: Option<&Self>,
        name: &str,
        labels: &[(&str, &str)],
        quantile: f64,
    ) -> Option<f64> {
        let mut buckets = self.buckets(name, labels);
        for (bucket, (_, before)) in
            buckets.iter_mut().zip(earlier.map(|one| one.buckets(name, labels)).unwrap_or_default())
        {
            // After a start of the host the counters begin anew.
            bucket.1 = if bucket.1 >= before { bucket.1 - before } else { bucket.1 };
        }
        let all = buckets.last().map(|(_, count)| *count).filter(|all| *all > 0.0)?;
        let rank = quantile.clamp(0.0, 1.0) * all;
        let place = buckets.iter().position(|(_, count)| *count >= rank && *count > 0.0)?;
        let (bound, count) = buckets[place];
        let (bound_below, count_below) = place.checked_sub(1).map_or((0.0, 0.0), |below| buckets[below]);
        if bound.is_infinite() {
            return Some(bound_below);
        }
        Some(
            bound_below
                + (bound - bound_below) * ((rank - count_below) / (count - count_below)).clamp(0.0, 1.0),
        )
    }

    /// The cumulative buckets of all series that fit, added up, by rising bound.
    fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.samples(&format!("{name}_bucket"), labels) {
            let Some(bound) = sample.label("le").and_then(number) else { continue };
            match buckets.iter_mut().find(|(present, _)| present.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

impl Sample {
    /// The text of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(present, _)| present == name).map(|(_, text)| text.as_str())
    }
}

/// `name{label="text",…} value`, and what may follow.
fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(|character: char| !is_of_name(character)).ok_or("it has no value")?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() {
        return Err("it has no name");
    }
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"").ok_or("a label has no text")?;
            let (text, after) = quoted(after).ok_or("a label's text has no end")?;
            labels.push((label.trim().to_owned(), text));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next().ok_or("it has no value")?;
    let value = number(value).ok_or("its value is no number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | ':')
}

/// The text up to the quote that ends it, and what follows.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = rest.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((text, rest.get(index + 1..)?)),
            '\\' => text.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => text.push(character),
        }
    }
    None
}

/// A number; `+Inf`, `-Inf` and `NaN` are among them.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use waggle_measure::Histogram;
    use waggle_telemetry::metrics::{Families, Format, Metrics};

    const TEXTS: [&str; 5] = ["plain", "a \"quoted\" one", "back\\slash \\n", "two\nlines", "}=\",{ ü"];

    #[test]
    fn what_is_written_is_read_again_in_both_formats() {
        let metrics = Metrics::new();
        metrics.register(Box::new(|families: &mut Families| {
            for (index, text) in TEXTS.into_iter().enumerate() {
                families
                    .counter("waggle_test_total", "A test")
                    .add(&[("first", text), ("second", "x")], index);
            }
            families.gauge("waggle_level", "A level").add(&[], -2.5);
        }));
        for format in [Format::OpenMetrics, Format::PrometheusText] {
            let scrape = Scrape::parse(&metrics.render(format).text).unwrap();
            for (index, text) in TEXTS.into_iter().enumerate() {
                let found = scrape.sum("waggle_test_total", &[("second", "x"), ("first", text)]);
                assert_eq!(found, Some(index as f64), "{text:?}");
            }
            assert_eq!(scrape.sum("waggle_test_total", &[]), Some(10.0));
            assert_eq!(scrape.sum("waggle_level", &[]), Some(-2.5));
            assert_eq!(scrape.sum("waggle_level", &[("first", "plain")]), None);
            assert_eq!(scrape.sums_by("waggle_test_total", "first", &[]).len(), TEXTS.len());
        }
    }

    #[test]
    fn other_writers_are_read_too() {
        let check = |line: &str, name: &str, labels: usize, value: f64| {
            let found = sample(line).unwrap();
            assert_eq!(
                (found.name.as_str(), found.labels.len(), found.value),
                (name, labels, value),
                "{line}"
            );
        };
        check("up 1", "up", 0, 1.0);
        check("up{} 1 1395066363000", "up", 0, 1.0);
        check("a:b_c{x=\"1\", y=\"2\",} 1e3", "a:b_c", 2, 1_000.0);
        check("h_bucket{le=\"+Inf\"} +Inf", "h_bucket", 1, f64::INFINITY);
        check("h_bucket{le=\"1.0\"} 7 # {trace_id=\"x\"} 0.5", "h_bucket", 1, 7.0);
    }

    #[test]
    fn a_line_that_is_malformed_is_told_by_its_number() {
        let check = |text: &str, line: usize, part: &str| {
            let error = Scrape::parse(text).unwrap_err();
            assert!(error.line == line && error.reason.contains(part), "{text:?}: {error}");
        };
        check("# TYPE a gauge\na 1\nb", 3, "no value");
        check("{a=\"b\"} 1", 1, "no name");
        check("a{b} 1", 1, "no text");
        check("a{b=\"c} 1", 1, "no end");
        check("a{b=\"c\\", 1, "no end");
        check("a{b=\"c\"}", 1, "no value");
        check("a one", 1, "no number");
    }

    #[test]
    fn a_quantile_is_of_what_came_since() {
        let histogram = std::sync::Arc::new(Histogram::default());
        let (metrics, shown) = (Metrics::new(), std::sync::Arc::clone(&histogram));
        metrics.register(Box::new(move |families: &mut Families| {
            families.histogram("waggle_test_seconds", "A test").add(&[("route", "/")], shown.snapshot());
        }));
        let scrape = || Scrape::parse(&metrics.render(Format::OpenMetrics).text).unwrap();
        let quantile =
            |now: &Scrape, earlier, quantile| now.quantile(earlier, "waggle_test_seconds", &[], quantile);
        let empty = scrape();
        assert_eq!(quantile(&empty, None, 0.5), None);
        (0..100).for_each(|_| histogram.observe(Duration::from_millis(8)));
        let first = scrape();
        // Half-way through the bucket of 5 to 10 ms.
        assert!((quantile(&first, None, 0.5).unwrap() - 0.007_5).abs() < 1e-9);
        (0..100).for_each(|_| histogram.observe(Duration::from_secs(100)));
        let second = scrape();
        assert_eq!(quantile(&second, Some(&first), 0.5), Some(60.0), "longer than the last bound");
        assert!(quantile(&second, None, 0.25).unwrap() < 0.01);
        assert_eq!(quantile(&second, Some(&second), 0.5), None);
        // A host that started again: its counters are lower than before.
        assert!(quantile(&first, Some(&second), 0.5).is_some());
    }
}
