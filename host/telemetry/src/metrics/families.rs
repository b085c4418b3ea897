//! What the sources say at one scrape: families of series, each with its labels, gathered by name so that each family is
//! written once, whoever contributes to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use waggle_measure::HistogramSnapshot;

/// The most series of one scrape; what comes beyond is left out and counted.
pub const SERIES_MAX: usize = 100_000;

/// The labels of a series, by name.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A number, exact where it is a whole one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Natural(u64),
    Whole(i64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Natural(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Natural(value as u64)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Natural(value.into())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Natural(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "the formats know nothing but doubles")]
    pub(super) fn real(self) -> f64 {
        match self {
            Self::Natural(value) => value as f64,
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Natural(one), Self::Natural(other)) => Self::Natural(one.wrapping_add(other)),
            (Self::Whole(one), Self::Whole(other)) => Self::Whole(one.saturating_add(other)),
            (one, other) => Self::Real(one.real() + other.real()),
        }
    }
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(Number),
    Histogram(Box<HistogramSnapshot>),
    Info,
}

/// A family: its series by labels, in the order of the labels' text.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) series: BTreeMap<Labels, Value>,
}

/// The families of one scrape, by name.
#[derive(Debug, Default)]
pub struct Families {
    families: BTreeMap<&'static str, Family>,
    series: usize,
    left_out: u64,
}

impl Families {
    /// A counter: a number that only grows. Its name ends in `_total`; `help` is one sentence without its end.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> CounterSeries<'_> {
        debug_assert!(name.ends_with("_total"), "{name} is a counter, so its name ends in _total");
        CounterSeries(self.open(name, help, Kind::Counter))
    }

    /// A gauge: a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> GaugeSeries<'_> {
        GaugeSeries(self.open(name, help, Kind::Gauge))
    }

    /// A histogram of durations. Its name ends in `_seconds`.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> HistogramSeries<'_> {
        debug_assert!(name.ends_with("_seconds"), "{name} is a duration, so its name ends in _seconds");
        HistogramSeries(self.open(name, help, Kind::Histogram))
    }

    /// A fact about the process, said by labels. Its name ends in `_info`.
    pub fn info(&mut self, name: &'static str, help: &'static str) -> InfoSeries<'_> {
        debug_assert!(name.ends_with("_info"), "{name} is an info, so its name ends in _info");
        InfoSeries(self.open(name, help, Kind::Info))
    }

    /// How many series were left out, for want of room or because their family is of another kind.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn into_families(self) -> BTreeMap<&'static str, Family> {
        self.families
    }

    fn open(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Open<'_> {
        debug_assert!(is_name(name), "{name:?} is no name of a metric");
        let family = self.families.entry(name).or_insert(Family { kind, help, series: BTreeMap::new() });
        let is_fitting = family.kind == kind;
        debug_assert!(is_fitting, "{name} is a {:?} already", family.kind);
        Open { family, is_fitting, series: &mut self.series, left_out: &mut self.left_out }
    }
}

/// A family that is being written to.
struct Open<'a> {
    family: &'a mut Family,
    is_fitting: bool,
    series: &'a mut usize,
    left_out: &'a mut u64,
}

impl Open<'_> {
    fn put(&mut self, labels: &[(&'static str, &str)], value: Value) {
        debug_assert!(labels.iter().all(|(name, _)| is_name(name)), "{labels:?}");
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        match self.family.series.entry(labels) {
            _ if !self.is_fitting => *self.left_out += 1,
            Entry::Vacant(_) if *self.series >= SERIES_MAX => *self.left_out += 1,
            Entry::Vacant(place) => {
                place.insert(value);
                *self.series += 1;
            }
            Entry::Occupied(mut present) => {
                if !add(present.get_mut(), &value) {
                    *self.left_out += 1;
                }
            }
        }
    }
}

/// Adds to a series what another source says of it.
fn add(present: &mut Value, more: &Value) -> bool {
    match (present, more) {
        (Value::Number(present), Value::Number(more)) => {
            *present = present.plus(*more);
            true
        }
        (Value::Histogram(present), Value::Histogram(more)) => present.merge(more),
        (Value::Info, Value::Info) => true,
        _ => false,
    }
}

/// The series of a counter.
pub struct CounterSeries<'a>(Open<'a>);

impl CounterSeries<'_> {
    /// What a series has counted; added to it if the family has it already.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: impl Into<Number>) -> &mut Self {
        self.0.put(labels, Value::Number(value.into()));
        self
    }
}

/// The series of a gauge.
pub struct GaugeSeries<'a>(Open<'a>);

impl GaugeSeries<'_> {
    /// What a series is; added to it if the family has it already.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: impl Into<Number>) -> &mut Self {
        self.0.put(labels, Value::Number(value.into()));
        self
    }
}

/// The series of a histogram.
pub struct HistogramSeries<'a>(Open<'a>);

impl HistogramSeries<'_> {
    /// The durations of a series; added to it if the family has it already, which must have the same bounds.
    pub fn add(&mut self, labels: &[(&'static str, &str)], snapshot: HistogramSnapshot) -> &mut Self {
        self.0.put(labels, Value::Histogram(Box::new(snapshot)));
        self
    }
}

/// The facts of an info.
pub struct InfoSeries<'a>(Open<'a>);

impl InfoSeries<'_> {
    /// A fact.
    pub fn add(&mut self, labels: &[(&'static str, &str)]) -> &mut Self {
        self.0.put(labels, Value::Info);
        self
    }
}

/// Whether it is a name in all formats, of metrics as well as of labels.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(letter) && text.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}
