//! How a streamed output grew, kept beside its response so that the same events can be made again.

use serde::Deserialize;
use waggle_openai::json::push;

/// The longest trace that is kept, in bytes: that of some hundred thousand pieces.
const TRACE_BYTES_MAX: usize = 1 << 20;

/// How a streamed output grew: for each of the model's pieces its length in bytes, and the place of its item when that is
/// not the one before. As JSON, `[[0,5],3,[1,0],12]`. The parts of an item grow one after another, so which of them a
/// piece belongs to follows from what came before. Where the model adds and ends its items itself, a piece of no bytes
/// begins one, and `[0]` says that the item at place 0 ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    json: Vec<u8>,
    at: Option<usize>,
}

impl Trace {
    /// Takes note of a piece of `bytes` bytes for the output item at `at`.
    pub(crate) fn push(&mut self, at: usize, bytes: usize) {
        if self.json.len() > TRACE_BYTES_MAX {
            return;
        }
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        if self.at == Some(at) {
            push(&mut self.json, &bytes);
        } else {
            push(&mut self.json, &[at, bytes]);
        }
        self.at = Some(at);
    }

    /// Takes note of the end of the output item at `at`.
    pub(crate) fn end(&mut self, at: usize) {
        if self.json.len() > TRACE_BYTES_MAX {
            return;
        }
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        push(&mut self.json, &[at]);
    }

    /// The trace as it is kept; `None` when it is too long, or there is nothing in it.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let mut json = std::mem::take(&mut self.json);
        json.push(b']');
        (json.len() > 1 && json.len() <= TRACE_BYTES_MAX).then_some(json)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Kept {
    Same(usize),
    Other([usize; 2]),
    End([usize; 1]),
}

/// What happened to an output item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It grew by so many bytes.
    Grew { at: usize, bytes: usize },
    /// It ended.
    Ended { at: usize },
}

impl Step {
    /// Whether it happened to the first of the output items.
    pub(crate) fn is_of_first(&self) -> bool {
        matches!(self, Self::Grew { at: 0, .. } | Self::Ended { at: 0 })
    }
}

/// Reads a trace as it was kept.
pub(crate) fn read(json: &str) -> Option<Vec<Step>> {
    let steps: Vec<Kept> = serde_json::from_str(json).ok()?;
    let mut last = 0;
    let step = |step| match step {
        Kept::Same(bytes) => Step::Grew { at: last, bytes },
        Kept::Other([at, bytes]) => {
            last = at;
            Step::Grew { at, bytes }
        }
        Kept::End([at]) => Step::Ended { at },
    };
    Some(steps.into_iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let grew = |at, bytes| Step::Grew { at, bytes };
        let steps = [grew(0, 5), grew(0, 3), grew(1, 0), Step::Ended { at: 0 }, grew(1, 7), grew(0, 1)];
        let mut trace = Trace::default();
        for step in steps {
            match step {
                Step::Grew { at, bytes } => trace.push(at, bytes),
                Step::Ended { at } => trace.end(at),
            }
        }
        let kept = String::from_utf8(trace.take().unwrap()).unwrap();
        assert_eq!(kept, "[[0,5],3,[1,0],[0],7,[0,1]]");
        assert_eq!(read(&kept).unwrap(), steps);
        assert_eq!(Trace::default().take(), None);
    }

    #[test]
    fn a_trace_that_grows_without_end_is_not_kept() {
        let mut trace = Trace::default();
        for at in 0..TRACE_BYTES_MAX {
            trace.push(at, 1);
        }
        assert_eq!(trace.take(), None);
    }
}
