//! What a function writes to its standard output and error, on its way to the log.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field;
use waggle_measure::trace::{SpanId, TraceId};

use crate::budget::{Admission, LineBudget};
use crate::line::{Line, LineBuffer};
use crate::tenant_files::{Content, TenantLogFile};

/// The target of all lines that functions write, to filter by: `WAGGLE_LOG=info,function=off`.
pub const FUNCTION_LOG_TARGET: &str = "function";

/// Which of its two streams a function wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Who writes. The host fills it in; nothing that a function writes can change it.
#[derive(Debug, Clone)]
pub struct LogSource {
    pub tenant: Arc<str>,
    pub function: Arc<str>,
    /// The number of the instance in this process.
    pub instance: u64,
}

/// For whom something is written.
#[derive(Debug, Clone)]
pub struct LogRequest {
    pub id: Arc<str>,
    /// Where in its trace, if that is recorded.
    pub trace: Option<(TraceId, SpanId)>,
}

impl From<&str> for LogRequest {
    fn from(id: &str) -> Self {
        Self { id: id.into(), trace: None }
    }
}

/// A sink for one stream of one instance. Cheap to clone; the clones share what has come of a line.
///
/// Each line becomes one event with the target [`FUNCTION_LOG_TARGET`], level INFO and the fields `tenant`, `function`,
/// `instance`, `request` (where known), `trace` and `span` (where recorded), `stream`, and last `line`: the quoted text after `line=` is the function's, all
/// before it is the host's. With a [`TenantLogFile`], each line goes there as well, whatever the filter of the log. Lines
/// longer than [`crate::LINE_BYTES_MAX`] are cut, lines over the [`LineBudget`] are dropped and
/// their number is logged, empty ones are left out. Writing never waits and never fails.
#[derive(Clone)]
pub struct FunctionLog(Arc<Inner>);

struct Inner {
    source: LogSource,
    stream: LogStream,
    budget: Arc<LineBudget>,
    file: Option<Arc<TenantLogFile>>,
    /// Keeps out of the log of the process.
    is_quiet: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buffer: LineBuffer,
    request: Option<LogRequest>,
}

impl FunctionLog {
    /// A sink for what `source` writes to `stream`. All instances of a function within a tenant share `budget`.
    #[must_use]
    pub fn new(source: LogSource, stream: LogStream, budget: Arc<LineBudget>) -> Self {
        Self::with_file(source, stream, budget, None)
    }

    /// The same, which also writes to the file of the tenant.
    #[must_use]
    pub fn with_file(
        source: LogSource,
        stream: LogStream,
        budget: Arc<LineBudget>,
        file: Option<Arc<TenantLogFile>>,
    ) -> Self {
        Self(Arc::new(Inner { source, stream, budget, file, is_quiet: false, state: Mutex::default() }))
    }

    /// A sink that writes to the file of the tenant only.
    #[must_use]
    pub fn to_file(
        source: LogSource,
        stream: LogStream,
        budget: Arc<LineBudget>,
        file: Arc<TenantLogFile>,
    ) -> Self {
        let file = Some(file);
        Self(Arc::new(Inner { source, stream, budget, file, is_quiet: true, state: Mutex::default() }))
    }

    /// Says which request the instance works for from now on; `None` when for none or for several at a time.
    pub fn set_request(&self, request: Option<LogRequest>) {
        self.0.lock().request = request;
    }

    /// Takes `bytes` in and logs each line that is complete now.
    pub fn write(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        let State { buffer, request } = &mut *state;
        buffer.push(bytes, |line| self.0.log(line, request.as_ref()));
    }

    /// Logs what has come of a line without an end, and how many lines were dropped last. For the end of an instance;
    /// dropping the last clone does the same.
    pub fn flush_partial(&self) {
        self.0.flush_partial();
    }
}

impl Inner {
    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_partial(&self) {
        let mut state = self.lock();
        let State { buffer, request } = &mut *state;
        buffer.flush(|line| self.log(line, request.as_ref()));
        self.tell_dropped(self.budget.take_dropped());
    }

    fn log(&self, line: Line<'_>, request: Option<&LogRequest>) {
        let is_logged =
            !self.is_quiet && tracing::enabled!(target: FUNCTION_LOG_TARGET, tracing::Level::INFO);
        if !is_logged && self.file.is_none() {
            return;
        }
        let Admission::Pass { dropped } = self.budget.admit(Instant::now()) else { return };
        self.tell_dropped(dropped);
        let text = line.printable();
        if is_logged {
            let of = request.and_then(|request| request.trace);
            tracing::info!(
                target: FUNCTION_LOG_TARGET,
                tenant = &*self.source.tenant,
                function = &*self.source.function,
                instance = self.source.instance,
                request = request.map(|request| &*request.id),
                trace = of.map(|(trace, _)| field::display(trace)),
                span = of.map(|(_, span)| field::display(span)),
                stream = self.stream.name(),
                // A text, not a `Display`: the readable log quotes and escapes it, so that a line which looks like
                // fields is seen to be none.
                line = text.as_str(),
            );
        }
        if let Some(file) = &self.file {
            file.log(
                &self.source,
                self.stream,
                request.map(|request| Arc::clone(&request.id)),
                Content::Line(text),
            );
        }
    }

    fn tell_dropped(&self, dropped: u64) {
        if dropped == 0 {
            return;
        }
        tracing::warn!(
            target: FUNCTION_LOG_TARGET,
            tenant = &*self.source.tenant,
            function = &*self.source.function,
            dropped,
            "the function writes more lines than its budget allows; some were dropped",
        );
        if let Some(file) = &self.file {
            file.log(&self.source, self.stream, None, Content::OverBudget(dropped));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush_partial();
    }
}

/// For code that writes to any `Write`: takes all bytes, never fails, and keeps a line without an end on `flush`.
impl io::Write for FunctionLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        FunctionLog::write(self, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for FunctionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionLog")
            .field("source", &self.0.source)
            .field("stream", &self.0.stream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::subscriber::with_default;
    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::log::{json, readable};
    use crate::testing::Captured;

    fn source() -> LogSource {
        LogSource { tenant: "bank".into(), function: "chat".into(), instance: 7 }
    }

    fn function_log(lines_per_second_max: u32) -> FunctionLog {
        FunctionLog::new(source(), LogStream::Stdout, Arc::new(LineBudget::new(lines_per_second_max)))
    }

    /// What is logged while `write` runs, one object per line.
    fn logged(write: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        with_default(json(EnvFilter::new("info"), captured.clone()), write);
        captured.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_logged_with_who_wrote_it() {
        let events = logged(|| {
            let log = function_log(10);
            log.set_request(Some("r-1".into()));
            log.write(b"hel");
            log.write(b"lo\n");
            log.set_request(None);
            log.write(b"later\n");
        });
        assert_eq!(events.len(), 2);
        let expected = [("tenant", "bank"), ("function", "chat"), ("request", "r-1"), ("stream", "stdout")];
        for (field, value) in expected {
            assert_eq!(events[0][field], value, "{field}");
        }
        assert_eq!(events[0]["instance"], 7);
        assert_eq!(events[0]["line"], "hello");
        assert_eq!(events[0]["target"], FUNCTION_LOG_TARGET);
        assert_eq!((&events[1]["line"], &events[1]["request"]), (&Value::from("later"), &Value::Null));
    }

    #[test]
    fn what_is_left_at_the_end_is_logged_once() {
        let events = logged(|| {
            let log = function_log(10);
            log.write(b"no end");
            log.flush_partial();
            log.flush_partial();
        });
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["line"], "no end");
        let events = logged(|| function_log(10).write(b"dropped with its log"));
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_flood_is_cut_off_and_its_size_told() {
        let events = logged(|| {
            let log = function_log(3);
            // One write, so that all of it falls into one second or two.
            log.write("x\n".repeat(10_000).as_bytes());
        });
        let lines = events.iter().filter(|event| event["line"] == "x").count() as u64;
        let dropped: u64 = events.iter().filter_map(|event| event["dropped"].as_u64()).sum();
        assert!((3..=6).contains(&lines), "{lines}");
        assert_eq!(lines + dropped, 10_000);
        assert!(events.iter().all(|event| event["tenant"] == "bank"));
    }

    #[test]
    fn instances_that_share_a_budget_share_the_bound() {
        let events = logged(|| {
            let budget = Arc::new(LineBudget::new(5));
            for _ in 0..100 {
                FunctionLog::new(source(), LogStream::Stderr, Arc::clone(&budget)).write(b"hello\n");
            }
        });
        let lines = events.iter().filter(|event| event["line"] == "hello").count();
        assert!(lines <= 10, "{lines}");
    }

    /// What stands after `line=` in a line of the readable log: one quoted text and nothing else.
    fn written_by_function(line: &str) -> &str {
        let (host, function) = line.split_once("line=").unwrap();
        assert!(host.contains("tenant=\"bank\"") && !host.contains("victim"), "{line}");
        let text = function.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect(line);
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            assert_ne!(character, '"', "a quote without a backslash ends the text early: {line}");
            if character == '\\' {
                characters.next().expect(line);
            }
        }
        text
    }

    #[test]
    fn a_function_cannot_forge_a_line_or_a_field() {
        let check = |written: &str, expected: &str| {
            let captured = Captured::default();
            with_default(readable(EnvFilter::new("info"), false, captured.clone()), || {
                function_log(10).write(written.as_bytes());
            });
            let text = captured.text();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains(['\r', '\u{1b}', '\u{2028}']), "{text}");
            assert_eq!(written_by_function(text.trim_end()), expected);
        };
        check("hello\n", "hello");
        check("tenant=victim stream=stdout\n", "tenant=victim stream=stdout");
        check("x\" tenant=\"victim\"\n", r#"x\" tenant=\"victim\""#);
        check("x\\\" tenant=\"victim\n", r#"x\\\" tenant=\"victim"#);
        check("x line=\"y\" tenant=victim\\\n", r#"x line=\"y\" tenant=victim\\"#);
        check("a\r2026-01-01 ERROR tenant=victim\x1b[2K\n", r"a\\r2026-01-01 ERROR tenant=victim\\u{1b}[2K");
        check("b\u{2028}tenant=victim\n", r"b\\u{2028}tenant=victim");
    }

    #[test]
    fn lines_that_the_filter_leaves_out_cost_no_budget() {
        let budget = Arc::new(LineBudget::new(1));
        let captured = Captured::default();
        with_default(readable(EnvFilter::new("info,function=off"), false, captured.clone()), || {
            FunctionLog::new(source(), LogStream::Stdout, Arc::clone(&budget)).write(b"a\nb\nc\n");
        });
        assert_eq!(captured.text(), "");
        assert_eq!(budget.take_dropped(), 0);
    }

    #[test]
    fn it_serves_as_any_writer() {
        let events = logged(|| {
            let mut log = function_log(10);
            io::Write::write_all(&mut log, b"written\n").unwrap();
        });
        assert_eq!(events[0]["line"], "written");
    }
}
