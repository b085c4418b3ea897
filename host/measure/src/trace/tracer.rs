//! Where traces begin, and whether they are recorded.

use super::content::Held;
use super::context::SpanContext;
use super::id::{SpanId, TraceId};
use super::span::{FinishedSpan, Span, SpanKind};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Takes spans that have ended. It must not wait.
pub trait SpanSink: Send + Sync {
    /// Keeps the span, or counts that it had no room.
    fn accept(&self, span: FinishedSpan);
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Of the traces that begin here, this part, 0 to 1, by their id: all hosts with the same ratio record the same.
    pub ratio: f64,
    /// A trace that began elsewhere is recorded if its caller records it; otherwise `ratio` decides on it too.
    pub follows_caller: bool,
}

/// Begins the spans of requests. Cheap to clone; the default one records nothing and passes the callers' contexts on.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

struct Shared {
    sink: Box<dyn SpanSink>,
    sampling: Sampling,
    /// Of which the content of each span that is not sent yet is a part.
    content: Held,
}

impl Tracer {
    /// Records nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Records what `sampling` chooses into `sink`.
    #[must_use]
    pub fn new(sink: impl SpanSink + 'static, sampling: Sampling) -> Self {
        Self(Some(Arc::new(Shared { sink: Box::new(sink), sampling, content: Held::default() })))
    }

    /// Whether anything can be recorded. When not, an incoming context still passes through.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the first span of a request, in the caller's trace if there is one.
    pub fn root(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        caller: Option<SpanContext>,
    ) -> Span {
        let Some(shared) = &self.0 else {
            return Span::unrecorded(Parent { context: caller, shared: None });
        };
        let trace_id = caller.as_ref().map_or_else(TraceId::random, SpanContext::trace_id);
        let is_sampled = match &caller {
            Some(caller) if shared.sampling.follows_caller => caller.is_sampled(),
            _ => is_chosen(trace_id, shared.sampling.ratio),
        };
        if !is_sampled {
            // Those after us are told the same, so that no trace has holes.
            let context = caller.map_or_else(
                || SpanContext { trace_id, span_id: SpanId::random(), is_sampled: false, state: None },
                |caller| match caller.is_sampled() {
                    // Whoever changes the flag is a new parent (section 3.2.2.5.1).
                    true => SpanContext { span_id: SpanId::random(), is_sampled: false, ..caller },
                    false => caller,
                },
            );
            return Span::unrecorded(Parent { context: Some(context), shared: None });
        }
        let parent = caller.as_ref().map(SpanContext::span_id);
        let state = caller.and_then(|caller| caller.state);
        let context = SpanContext { trace_id, span_id: SpanId::random(), is_sampled: true, state };
        let of = Parent { context: Some(context.clone()), shared: Some(Arc::clone(shared)) };
        Span::recorded(of, context, (parent, parent.is_some()), name.into(), kind)
    }
}

/// As OpenTelemetry's `TraceIdRatioBased` chooses: by the lower 63 bits of the id, so that all who have the same ratio
/// choose the same traces.
fn is_chosen(trace_id: TraceId, ratio: f64) -> bool {
    /// 2^63.
    const ALL: f64 = 9_223_372_036_854_775_808.0;
    if ratio >= 1.0 {
        return true;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^63")]
    let bound = (ratio.max(0.0) * ALL) as u64;
    trace_id.lower_half() >> 1 < bound
}

/// A span, as others see it that begin within it. Cheap to clone; where nothing is recorded it only passes the context on.
#[derive(Clone)]
pub struct Parent {
    context: Option<SpanContext>,
    /// There when the span is recorded.
    shared: Option<Arc<Shared>>,
}

impl Parent {
    /// Of no trace.
    #[must_use]
    pub fn none() -> Self {
        Self { context: None, shared: None }
    }

    /// What a call to the outside carries; none when there is no trace.
    #[must_use]
    pub fn context(&self) -> Option<&SpanContext> {
        self.context.as_ref()
    }

    /// Whether children are recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.shared.is_some()
    }

    /// Begins a span within it.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        let (Some(shared), Some(parent)) = (&self.shared, &self.context) else {
            return Span::unrecorded(self.clone());
        };
        let context = SpanContext { span_id: SpanId::random(), ..parent.clone() };
        let of = Self { context: Some(context.clone()), shared: Some(Arc::clone(shared)) };
        Span::recorded(of, context, (Some(parent.span_id()), false), name.into(), kind)
    }

    /// What the content of a new span is counted by.
    pub(super) fn content(&self) -> Held {
        self.shared.as_ref().map_or_else(Held::default, |shared| shared.content.clone())
    }

    /// Hands a span that has ended to the sink.
    pub(super) fn finish(&self, span: FinishedSpan) {
        if let Some(shared) = &self.shared {
            shared.sink.accept(span);
        }
    }
}

impl Default for Parent {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.0.as_ref().map(|shared| shared.sampling)).finish()
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("context", &self.context).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::CONTENT_BYTES_MAX;
    use super::super::span::{ATTRIBUTES_MAX, EVENTS_MAX, TEXT_BYTES_MAX, Value};
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<FinishedSpan>>>);

    impl SpanSink for Kept {
        fn accept(&self, span: FinishedSpan) {
            self.0.lock().unwrap().push(span);
        }
    }

    impl Kept {
        fn tracer(&self, ratio: f64, follows_caller: bool) -> Tracer {
            Tracer::new(self.clone(), Sampling { ratio, follows_caller })
        }

        fn spans(&self) -> Vec<FinishedSpan> {
            self.0.lock().unwrap().clone()
        }
    }

    fn caller(flags: &str) -> Option<SpanContext> {
        let field = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        SpanContext::from_fields([field.as_bytes()], [&b"vendor=1"[..]])
    }

    #[test]
    fn spans_become_a_tree_in_the_callers_trace() {
        let kept = Kept::default();
        let mut root = kept.tracer(0.0, true).root("POST", SpanKind::Server, caller("01"));
        root.rename("POST /v1/responses");
        let parent = root.parent();
        let child = parent.child("instance", SpanKind::Internal);
        let call = child.child("chat gpt", SpanKind::Client);
        let outgoing = call.context().unwrap().clone();
        assert_eq!(outgoing.tracestate(), Some("vendor=1"));
        assert!(outgoing.is_sampled());
        drop((call, child));
        root.end();
        let spans = kept.spans();
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["chat gpt", "instance", "POST /v1/responses"]);
        assert!(spans.iter().all(|span| span.context.trace_id() == outgoing.trace_id()));
        assert_eq!(spans[0].context.span_id(), outgoing.span_id());
        assert_eq!(spans[0].parent, Some(spans[1].context.span_id()));
        assert_eq!(spans[1].parent, Some(spans[2].context.span_id()));
        assert_eq!(spans[2].parent.unwrap().to_string(), "00f067aa0ba902b7");
        assert_eq!(spans.iter().map(|span| span.parent_is_remote).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn what_is_not_recorded_passes_the_context_on() {
        let check = |tracer: &Tracer, incoming: Option<SpanContext>, expected: Option<bool>| {
            let root = tracer.root("GET", SpanKind::Server, incoming.clone());
            let mut child = root.child("part", SpanKind::Client);
            child.set("name", 1_u64);
            assert!(!child.is_recorded());
            assert_eq!(child.context().map(SpanContext::is_sampled), expected);
            if let (Some(incoming), Some(outgoing)) = (incoming, child.context()) {
                assert_eq!(outgoing.trace_id(), incoming.trace_id());
                let is_the_same = outgoing.is_sampled() == incoming.is_sampled();
                assert_eq!(outgoing.span_id() == incoming.span_id(), is_the_same);
                assert_eq!(outgoing.tracestate(), Some("vendor=1"));
            }
        };
        let kept = Kept::default();
        check(&Tracer::off(), None, None);
        check(&Tracer::off(), caller("01"), Some(true));
        check(&kept.tracer(0.0, true), None, Some(false));
        check(&kept.tracer(1.0, true), caller("00"), Some(false));
        check(&kept.tracer(0.0, false), caller("01"), Some(false));
        assert!(kept.spans().is_empty());
    }

    #[test]
    fn the_ratio_decides_where_no_caller_does() {
        let check = |tracer: Tracer,
                     incoming: fn() -> Option<SpanContext>,
                     expected: std::ops::RangeInclusive<usize>| {
            let recorded =
                (0..2_000).filter(|_| tracer.root("GET", SpanKind::Server, incoming()).is_recorded()).count();
            assert!(expected.contains(&recorded), "{tracer:?}: {recorded} in {expected:?}");
        };
        let kept = Kept::default();
        check(kept.tracer(0.0, true), || None, 0..=0);
        check(kept.tracer(1.0, true), || None, 2_000..=2_000);
        check(kept.tracer(0.25, true), || None, 380..=620);
        check(kept.tracer(0.0, true), || caller("01"), 2_000..=2_000);
        check(kept.tracer(1.0, false), || caller("00"), 2_000..=2_000);
    }

    #[test]
    fn the_same_trace_is_chosen_everywhere() {
        let id = |lower: u64| TraceId::new((7 << 64) | u128::from(lower)).unwrap();
        assert!(is_chosen(id(0), 0.001));
        assert!(is_chosen(id(u64::MAX / 2 - 1), 0.5));
        assert!(!is_chosen(id(u64::MAX / 2 + 2), 0.5));
        assert!(!is_chosen(id(u64::MAX), 0.999));
        assert!(is_chosen(id(u64::MAX), 1.0));
        assert!(!is_chosen(id(0), -1.0));
    }

    #[test]
    fn what_is_said_of_a_span_has_bounds() {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let kept = Kept::default();
        let mut span = kept.tracer(1.0, true).root("GET", SpanKind::Internal, None);
        span.set(NAMES[0], "first");
        span.set(NAMES[0], "last");
        span.set(NAMES[1], "ü".repeat(TEXT_BYTES_MAX));
        span.set_text(NAMES[2], "copied");
        (0..ATTRIBUTES_MAX + 7).for_each(|number| span.set(format!("key{number}").leak(), number as u64));
        (0..EVENTS_MAX + 3).for_each(|_| span.event("tick"));
        span.fail("it broke");
        span.end();
        let span = kept.spans().remove(0);
        assert_eq!(span.attributes[0], (NAMES[0], Value::from("last")));
        let Value::Text(text) = &span.attributes[1].1 else { panic!("a text") };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        assert_eq!((span.attributes.len(), span.attributes_left_out), (ATTRIBUTES_MAX, 10));
        assert_eq!((span.events.len(), span.events_left_out), (EVENTS_MAX, 3));
        assert_eq!(span.error.as_deref(), Some("it broke"));
        assert!(span.events.iter().all(|event| event.after <= span.duration));
    }

    #[test]
    fn content_is_whole_or_not_there() {
        let kept = Kept::default();
        let mut span = kept.tracer(1.0, true).root("chat", SpanKind::Client, None);
        let largest = "x".repeat(CONTENT_BYTES_MAX);
        span.set_content("said", largest.clone());
        span.set_content("asked", format!("{largest}y"));
        span.end();
        let span = kept.spans().remove(0);
        assert_eq!(span.attributes, [("said", Value::from(largest))]);
        assert_eq!(span.attributes_left_out, 1);
    }

    #[test]
    fn an_event_can_be_told_later_than_it_happened() {
        let kept = Kept::default();
        let before = std::time::Instant::now();
        let mut span = kept.tracer(1.0, true).root("GET", SpanKind::Internal, None);
        span.event_at("early", before);
        span.event("now");
        span.end();
        let span = kept.spans().remove(0);
        assert!(span.events[0].after.is_zero() && span.events[1].after <= span.duration, "{span:?}");
    }
}
