//! What a function writes to its standard output and error, on its way to the log.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::budget::{Admission, LineBudget};
use crate::line::{Line, LineBuffer};

/// The target of all lines that functions write, to filter by: `WAGGLE_LOG=info,function=off`.
pub const FUNCTION_LOG_TARGET: &str = "function";

/// Which of its two streams a function wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    fn name(self) -> &'static str {
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

/// A sink for one stream of one instance. Cheap to clone; the clones share what has come of a line.
///
/// Each line becomes one event with the target [`FUNCTION_LOG_TARGET`], level INFO and the fields `tenant`, `function`,
/// `instance`, `request` (where known), `stream`, and last `line`: what stands after `line=` is the function's, all before
/// it is the host's. Lines longer than [`crate::LINE_BYTES_MAX`] are cut, lines over the [`LineBudget`] are dropped and
/// their number is logged, empty ones are left out. Writing never waits and never fails.
#[derive(Clone)]
pub struct FunctionLog(Arc<Inner>);

struct Inner {
    source: LogSource,
    stream: LogStream,
    budget: Arc<LineBudget>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buffer: LineBuffer,
    request: Option<Arc<str>>,
}

impl FunctionLog {
    /// A sink for what `source` writes to `stream`. All instances of a function within a tenant share `budget`.
    #[must_use]
    pub fn new(source: LogSource, stream: LogStream, budget: Arc<LineBudget>) -> Self {
        Self(Arc::new(Inner { source, stream, budget, state: Mutex::default() }))
    }

    /// Says which request the instance works for from now on; `None` when for none or for several at a time.
    pub fn set_request(&self, request: Option<Arc<str>>) {
        self.0.lock().request = request;
    }

    /// Takes `bytes` in and logs each line that is complete now.
    pub fn write(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        let State { buffer, request } = &mut *state;
        buffer.push(bytes, |line| self.0.log(line, request.as_deref()));
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
        buffer.flush(|line| self.log(line, request.as_deref()));
        self.tell_dropped(self.budget.take_dropped());
    }

    fn log(&self, line: Line<'_>, request: Option<&str>) {
        if !tracing::enabled!(target: FUNCTION_LOG_TARGET, tracing::Level::INFO) {
            return;
        }
        match self.budget.admit(Instant::now()) {
            Admission::Drop => {}
            Admission::Pass { dropped } => {
                self.tell_dropped(dropped);
                tracing::info!(
                    target: FUNCTION_LOG_TARGET,
                    tenant = &*self.source.tenant,
                    function = &*self.source.function,
                    instance = self.source.instance,
                    request,
                    stream = self.stream.name(),
                    line = %line.printable(),
                );
            }
        }
    }

    fn tell_dropped(&self, dropped: u64) {
        if dropped > 0 {
            tracing::warn!(
                target: FUNCTION_LOG_TARGET,
                tenant = &*self.source.tenant,
                function = &*self.source.function,
                dropped,
                "the function writes more lines than its budget allows; some were dropped",
            );
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

    #[test]
    fn a_function_cannot_forge_a_line_or_a_field() {
        let captured = Captured::default();
        with_default(readable(EnvFilter::new("info"), false, captured.clone()), || {
            let log = function_log(10);
            log.write(b"a\r2026-01-01 ERROR tenant=victim\x1b[2K\n");
            log.write("b\u{2028}tenant=victim\n".as_bytes());
        });
        let text = captured.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            let (host, function) = line.split_once("line=").unwrap();
            assert!(host.contains("tenant=\"bank\"") && !host.contains("victim"), "{line}");
            assert!(function.contains("victim") && !line.contains(['\r', '\u{1b}', '\u{2028}']), "{line}");
        }
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
