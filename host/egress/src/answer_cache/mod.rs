//! The answer cache: a question that a tenant has had answered is not asked again for a while, and one that is asked
//! many times at once is asked once. It never shows an answer to another tenant than the one whose question it was.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | how much is kept, and for how long |
//! | `caches` | [`AnswerCaches`]: the tenants' shelves, and the bound over all of them |
//! | `ask` | [`TenantAnswers::get_or_call`]: one question from end to end |
//! | `key`, `text` | when two questions are the same |
//! | `shelf` | what one tenant has: answers that are kept, calls under way |
//! | `flight` | a call under way and who reads it, each at a pace of its own |
//! | `pump` | the task that makes the call, and keeps the answer |
//! | `kept`, `complete` | an answer at rest, and which ones are worth it |
//! | `sweep` | the task that lets go of what is too old |
//! | `body` | the body of an answer, wherever it comes from |
//!
//! # One tenant's answers
//! A [`TenantAnswers`] is made for one tenant and holds that tenant's shelf, not a name by which a shelf is looked up:
//! no method of it takes a tenant. The shelf's number, which is drawn once and never again, is a part of every key too.
//!
//! # Which questions are the same
//! Those with the same path, model and body, where of the body
//! - the order of the members and white space between values do not count;
//! - `user`, `metadata`, `stream_options`, `safety_identifier` and `prompt_cache_key` do not count: they say who asks, or
//!   what is told beside the answer;
//! - in the text of the last message of a user, the width of characters, upper and lower case, and the amount of white
//!   space do not count, as in the profile UsernameCaseMapped of PRECIS (RFC 8265, section 3.3.2), and all of it is
//!   brought to NFC. Punctuation counts, also at the end. NFKC would go further, and make 2³ and 23 the same question;
//! - everything else counts, every byte of it, and an answer that is streamed is never one that is not.
//!
//! Only chat completions of at most [`QUESTION_BYTES_MAX`] are looked at. All others are called for, each by itself.
//!
//! # Which answers are kept
//! Those with status 200 that came whole, where every choice ended with `stop` and said something, and none called a
//! tool or refused; of at most [`ANSWER_BYTES_MAX`]. A stream is replayed in the pieces in which it came.
//!
//! # Who makes the call
//! The first who asks leads: its call is made in a task, and everybody who asks the same while it is under way follows.
//! If the leader goes away, the call goes on for its followers; when all have gone, it ends. If the call fails before its
//! first piece, the leader gets the failure and one of the followers makes a call of its own, then the next one, each
//! within its own deadline, so that one call at a time is made however many wait. After the first piece nobody calls
//! again: all read the same end. A stream ends with its event `[DONE]`, whatever its connection does
//! after it; readers may leave there.
//!
//! Up to [`ANSWER_BYTES_MAX`] no reader slows another. A larger answer comes at the pace of its fastest reader, and those
//! who fall further behind than that many bytes are cut off with an error.
//!
//! # Where a semantic cache goes
//! Inside the call that is given to [`TenantAnswers::get_or_call`]: it is then asked once for all who ask the same at the
//! same time, and only for what is not kept exactly. What it answers without a call carries [`AnswerSource::Hit`] in the
//! response's extensions, by which it is not kept here for another lifetime.

mod ask;
mod body;
mod caches;
mod complete;
mod config;
mod flight;
mod kept;
mod key;
mod pump;
mod shelf;
mod sweep;
#[cfg(test)]
mod tests;
mod text;

pub use ask::{AskOptions, Question, TenantAnswers};
pub use body::AnswerBody;
pub use caches::AnswerCaches;
pub use config::{AnswerCacheConfig, AnswerSettings};
pub use kept::{ANSWER_BYTES_MAX, ANSWER_CACHE_FIELD};
pub use key::QUESTION_BYTES_MAX;
pub use shelf::AnswerStats;

/// Where an answer comes from. It stands in the extensions of every response of [`TenantAnswers::get_or_call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerSource {
    /// A call of its own: the cache is off for the tenant, or such a question is not looked at.
    Off,
    /// A call of its own, as nothing was kept.
    Miss,
    /// It was kept: no call was made.
    Hit,
    /// The call of somebody who asked the same at the same time.
    Joined,
}

impl AnswerSource {
    /// The value of the field [`ANSWER_CACHE_FIELD`]: `hit` for all that cost no call of its own.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Miss => "miss",
            Self::Hit | Self::Joined => "hit",
        }
    }
}

/// A lock that holds plain data is as good after a panic of its holder as before.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
