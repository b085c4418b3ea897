//! Looking at the beginning of a model's stream: whether it says anything yet, and whether it declines.

use waggle_model::decline::{LOOKED_AT_CHARACTERS_MAX, Opening, opening};
use waggle_model::reply::{Chunk, Completion, FinishReason, read_chunk};
use waggle_model::responses::{Answer, Event, read_event};
use waggle_model::sse::SseParser;
use waggle_model::transport::{ChunkSource, Replayed};
use waggle_model::{ModelFailure, Wire};

/// What an endpoint sends when it has said everything.
pub(crate) const DONE: &[u8] = b"[DONE]";
/// How much of a stream is held back while it says nothing, in bytes.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// What an answer is worth, as far as another model might do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answers.
    Answers,
    /// It declines in words, which are better than nothing.
    Declines,
    /// It holds nothing.
    Empty,
}

/// Judges a whole answer.
pub(crate) fn judge(completion: &Completion) -> Verdict {
    let (calls, refuses) = (!completion.tool_calls.is_empty(), !completion.refusal.is_empty());
    verdict(&completion.text, calls, refuses, completion.finish)
}

/// Judges a whole answer of a model that was asked by Responses.
pub(crate) fn judge_answer(answer: &Answer) -> Verdict {
    verdict(&answer.text(), answer.calls(), answer.refuses(), answer.finish)
}

fn verdict(text: &str, calls: bool, refuses: bool, finish: FinishReason) -> Verdict {
    let text = text.trim();
    if calls {
        return Verdict::Answers;
    }
    if text.is_empty() {
        return if refuses { Verdict::Declines } else { Verdict::Empty };
    }
    if finish == FinishReason::ContentFilter || opening(text) == Opening::Declines {
        return Verdict::Declines;
    }
    Verdict::Answers
}

/// What was seen of a stream's beginning.
#[derive(Debug, Default)]
pub(crate) struct Scout {
    wire: Wire,
    parser: SseParser,
    text: String,
    said: bool,
    verdict: Option<Verdict>,
}

impl Scout {
    /// One for the events of that API.
    fn on(wire: Wire) -> Self {
        Self { wire, parser: wire.parser(), ..Self::default() }
    }

    /// Looks at the next chunk.
    ///
    /// # Errors
    /// The stream holds an error, or something else than a completion.
    pub(crate) fn see(&mut self, chunk: &[u8]) -> Result<(), ModelFailure> {
        self.parser.push(chunk);
        while self.verdict.is_none()
            && let Some(event) =
                self.parser.next_event().map_err(|long| ModelFailure::TooLong(long.to_string()))?
        {
            self.event(&event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &[u8]) -> Result<(), ModelFailure> {
        if event == DONE {
            if self.wire == Wire::Chat {
                self.finished(FinishReason::Stop);
            }
            return Ok(());
        }
        // Some endpoints keep a connection alive by events without data.
        if event.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.wire {
            Wire::Chat => self.heed(&read_chunk(event)?),
            Wire::Responses => match read_event(event)? {
                // An endpoint may say everything at the end.
                Event::Ended(answer) if self.text.trim().is_empty() => {
                    self.said = true;
                    self.verdict = Some(judge_answer(&answer));
                }
                event => self.heed(&event.as_chunk()),
            },
        }
        Ok(())
    }

    fn heed(&mut self, chunk: &Chunk<'_>) {
        self.said |= chunk.says_something();
        self.look(chunk);
    }

    fn look(&mut self, chunk: &Chunk<'_>) {
        if !chunk.tool_calls.is_empty() || chunk.reasons {
            self.verdict = Some(Verdict::Answers);
            return;
        }
        if chunk.refusal.is_some() && self.text.trim().is_empty() {
            self.verdict = Some(Verdict::Declines);
            return;
        }
        if let Some(text) = &chunk.text {
            self.text.push_str(text);
            self.verdict = match opening(&self.text) {
                Opening::Declines => Some(Verdict::Declines),
                Opening::Answers => Some(Verdict::Answers),
                // White space in front is not counted by `opening`, but it is held back as well.
                Opening::Undecided if self.text.chars().nth(LOOKED_AT_CHARACTERS_MAX).is_some() => {
                    Some(Verdict::Answers)
                }
                Opening::Undecided => None,
            };
        }
        if let (Some(finish), None) = (chunk.finish, self.verdict) {
            self.finished(finish);
        }
    }

    fn finished(&mut self, finish: FinishReason) {
        self.said = true;
        self.verdict = Some(match finish {
            _ if self.text.trim().is_empty() => Verdict::Empty,
            FinishReason::ContentFilter => Verdict::Declines,
            _ => Verdict::Answers,
        });
    }

    /// Whether the model has begun to answer, or has ended.
    pub(crate) fn has_said_something(&self) -> bool {
        self.said
    }

    /// Looks at the end of the stream: a model that neither said anything nor said that it was done was cut off.
    ///
    /// # Errors
    /// [`ModelFailure::Cut`].
    pub(crate) fn end(&mut self) -> Result<(), ModelFailure> {
        if self.wire == Wire::Chat && self.parser.trailing().is_some_and(|event| event == DONE) {
            self.finished(FinishReason::Stop);
        }
        if self.said { Ok(()) } else { Err(ModelFailure::Cut) }
    }
}

/// Reads a stream until it is known whether the model answers: at most [`LOOKED_AT_CHARACTERS_MAX`] characters of what
/// it says. The stream that is returned begins at its beginning.
///
/// # Errors
/// It failed before anything was known.
pub(crate) async fn peek<B: ChunkSource>(
    mut body: B,
    wire: Wire,
) -> Result<(Replayed<B>, Verdict), ModelFailure> {
    let mut scout = Scout::on(wire);
    let mut ahead = Vec::new();
    let mut bytes = 0;
    loop {
        let Some(chunk) = body.next_chunk().await? else {
            scout.end()?;
            // Without a verdict it said something, and ended in the middle of it.
            let verdict = scout.verdict.ok_or(ModelFailure::Cut)?;
            return Ok((Replayed::new(ahead, body), verdict));
        };
        scout.see(&chunk)?;
        bytes += chunk.len();
        ahead.push(chunk);
        if let Some(verdict) = scout.verdict {
            return Ok((Replayed::new(ahead, body), verdict));
        }
        if bytes > AHEAD_BYTES_MAX {
            return Ok((Replayed::new(ahead, body), Verdict::Answers));
        }
    }
}
