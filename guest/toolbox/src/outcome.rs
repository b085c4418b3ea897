//! What one attempt at a call came to, whatever kind of tool it was.

use waggle_model::transport::TransportFailure;
use waggle_tool::wire::CallError;

/// The call gave something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// What, as it came: nobody has cleaned it yet.
    pub(crate) output: String,
    /// Whether the conversation was handed to a person.
    pub(crate) handed_over: bool,
}

impl Done {
    /// It gave `output`, and that is all.
    pub(crate) fn of(output: String) -> Self {
        Self { output, handed_over: false }
    }
}

/// The call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What kind of failure it is.
    pub(crate) error: CallError,
    /// For the model, uncleaned: what went wrong, and what may be done.
    pub(crate) text: String,
    /// For the operator, where there is something to look at.
    pub(crate) log: Option<String>,
    /// Whether the next attempt may do better.
    pub(crate) again: Again,
    /// Whether it may have happened all the same: the request has left, and nobody said what became of it.
    pub(crate) may_have_happened: bool,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail in the same way.
    Never,
    /// It may do better after a while.
    Later,
    /// After so many milliseconds, as the other side said.
    After(u64),
}

/// What an attempt came to.
pub(crate) type Outcome = Result<Done, Fault>;

impl Fault {
    /// A failure that stays one.
    pub(crate) fn new(error: CallError, text: impl Into<String>) -> Self {
        Self { error, text: text.into(), log: None, again: Again::Never, may_have_happened: false }
    }

    /// A failure that may pass.
    pub(crate) fn passing(error: CallError, text: impl Into<String>) -> Self {
        Self { again: Again::Later, ..Self::new(error, text) }
    }

    /// With what the operator should know.
    pub(crate) fn logged(self, log: impl Into<String>) -> Self {
        Self { log: Some(log.into()), ..self }
    }
}

impl From<TransportFailure> for Fault {
    /// The reason is the operator's: it may name addresses.
    fn from(failure: TransportFailure) -> Self {
        let fault = match &failure {
            TransportFailure::Unreachable(_) => {
                Self::passing(CallError::Unavailable, "The tool's server cannot be reached.")
            }
            TransportFailure::Busy(_) => Self::passing(
                CallError::Unavailable,
                "The tool is called as often at once as it may be. It may be free later.",
            ),
            TransportFailure::Denied(_) => {
                Self::new(CallError::Denied, "The tool was not granted what it asked for.")
            }
            TransportFailure::TimedOut(_) => Self {
                may_have_happened: true,
                ..Self::passing(CallError::TimedOut, "The tool's server did not answer in time.")
            },
            TransportFailure::Cut(_) | TransportFailure::Ended(_) => Self {
                may_have_happened: true,
                ..Self::passing(CallError::OutcomeUnknown, "The connection to the tool's server broke off.")
            },
        };
        fault.logged(failure.to_string())
    }
}
