//! A span: what a part of the host does for a request, from its beginning to its end.

use super::content::{CONTENT_BYTES_MAX, Held};
use super::context::SpanContext;
use super::id::SpanId;
use super::tracer::Parent;
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// The most attributes of a span; more are counted and left out.
pub const ATTRIBUTES_MAX: usize = 64;
/// The most events of a span; more are counted and left out.
pub const EVENTS_MAX: usize = 32;
/// The most bytes of a text; it is cut there.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The most texts of one attribute.
const TEXTS_MAX: usize = 16;

/// Which end of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Something within the process.
    Internal,
    /// A request that came in.
    Server,
    /// A request that went out.
    Client,
    /// A message that was put into a queue.
    Producer,
    /// A message that was taken from a queue.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Texts(Vec<Cow<'static, str>>),
    Integer(i64),
    Real(f64),
    Boolean(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Value {
    /// What is over 2^63 counts as that.
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Value {
    fn cut(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(cut(text)),
            Self::Texts(texts) => Self::Texts(texts.into_iter().take(TEXTS_MAX).map(cut).collect()),
            other => other,
        }
    }
}

fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    Cow::Owned(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned())
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: &'static str,
    /// After the span's beginning.
    pub after: Duration,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSpan {
    pub context: SpanContext,
    /// None for the first span of a trace.
    pub parent: Option<SpanId>,
    /// The parent is in another process.
    pub parent_is_remote: bool,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    pub start: SystemTime,
    pub duration: Duration,
    pub attributes: Vec<(&'static str, Value)>,
    pub attributes_left_out: u32,
    pub events: Vec<Event>,
    pub events_left_out: u32,
    /// What went wrong; none when nothing is known to have.
    pub error: Option<Cow<'static, str>>,
    /// Counts the content among its attributes, as long as this is there.
    pub content: Held,
}

/// A span that goes on. It ends when it is dropped. What is said of it costs nothing when it is not recorded.
#[must_use = "a span that is dropped has ended"]
pub struct Span {
    parent: Parent,
    record: Option<Box<Record>>,
}

struct Record {
    span: FinishedSpan,
    began: Instant,
}

impl Span {
    /// A span that is not recorded, of no trace.
    pub fn none() -> Self {
        Self { parent: Parent::none(), record: None }
    }

    /// A span that is not recorded; what it does still knows its trace.
    pub(super) fn unrecorded(parent: Parent) -> Self {
        Self { parent, record: None }
    }

    /// A span that is recorded. `of` is itself, as its children's parent.
    pub(super) fn recorded(
        of: Parent,
        context: SpanContext,
        (parent, parent_is_remote): (Option<SpanId>, bool),
        name: Cow<'static, str>,
        kind: SpanKind,
    ) -> Self {
        let span = FinishedSpan {
            context,
            parent,
            parent_is_remote,
            name,
            kind,
            start: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::new(),
            attributes_left_out: 0,
            events: Vec::new(),
            events_left_out: 0,
            error: None,
            content: of.content(),
        };
        Self { parent: of, record: Some(Box::new(Record { span, began: Instant::now() })) }
    }

    /// Whether what is said of it is kept. Ask before working out what is costly.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// What a call to the outside carries; none when there is no trace.
    #[must_use]
    pub fn context(&self) -> Option<&SpanContext> {
        self.parent.context()
    }

    /// This span, as the parent of others: to be kept where they begin.
    pub fn parent(&self) -> Parent {
        self.parent.clone()
    }

    /// Begins a part of this span.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        self.parent.child(name, kind)
    }

    /// Says something of it. The last word on a name counts.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.record {
            record.set(name, value.into());
        }
    }

    /// Says something of it in a text that is copied if it is recorded.
    pub fn set_text(&mut self, name: &'static str, text: &str) {
        if let Some(record) = &mut self.record {
            let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            record.set(name, Value::Text(Cow::Owned(text.to_owned())));
        }
    }

    /// Says in a text what people or models have said, which is long: it is not cut, but left out (and counted as that) when
    /// it is over [`CONTENT_BYTES_MAX`] or too much content waits to be sent already. Whoever calls this has been told by
    /// whose it is that it may be recorded, and has taken out of it what may not.
    pub fn set_content(&mut self, name: &'static str, text: String) {
        let Some(record) = &mut self.record else { return };
        let span = &mut record.span;
        let has_room = text.len() <= CONTENT_BYTES_MAX && span.attributes.len() < ATTRIBUTES_MAX;
        if has_room && span.content.take(text.len()) {
            span.attributes.push((name, Value::Text(Cow::Owned(text))));
        } else {
            span.attributes_left_out += 1;
        }
    }

    /// Gives it another name, once it is known what it does.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.span.name = cut(name.into());
        }
    }

    /// Says that something happened now.
    pub fn event(&mut self, name: &'static str) {
        if self.is_recorded() {
            self.event_at(name, Instant::now());
        }
    }

    /// Says that something happened at a moment; at the span's beginning, if it was before that.
    pub fn event_at(&mut self, name: &'static str, at: Instant) {
        let Some(record) = &mut self.record else { return };
        if record.span.events.len() >= EVENTS_MAX {
            record.span.events_left_out += 1;
            return;
        }
        record.span.events.push(Event { name, after: at.saturating_duration_since(record.began) });
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.span.error = Some(cut(reason.into()));
        }
    }

    /// Ends it now; dropping it does the same.
    pub fn end(self) {
        drop(self);
    }
}

impl Record {
    fn set(&mut self, name: &'static str, value: Value) {
        let span = &mut self.span;
        if let Some(present) = span.attributes.iter_mut().find(|(present, _)| *present == name) {
            present.1 = value.cut();
        } else if span.attributes.len() >= ATTRIBUTES_MAX {
            span.attributes_left_out += 1;
        } else {
            span.attributes.push((name, value.cut()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let Record { mut span, began } = *record;
            span.duration = began.elapsed();
            self.parent.finish(span);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span")
            .field("context", &self.context())
            .field("is_recorded", &self.is_recorded())
            .finish_non_exhaustive()
    }
}
