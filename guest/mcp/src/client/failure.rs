//! Why a server of others gave nothing that can be used.

use waggle_model::transport::{ReadFailure, TransportFailure};

/// The longest text of a server's that an error repeats, in characters.
const TEXT_CHARACTERS_MAX: usize = 500;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientFailure {
    /// It was not reached, or the connection ended early.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// It did not answer within the time of the call.
    #[error("the server did not answer in time")]
    TimedOut,
    /// It wants to be asked elsewhere. Redirects are not followed: the address that was approved is the one that is called.
    #[error(
        "the server redirects (HTTP {0}), which is not followed; register the address that it redirects to"
    )]
    Redirected(u16),
    /// It does not know us.
    #[error("the server refuses our credential (HTTP {0})")]
    Unauthorized(u16),
    /// It has no room now; `retry_after` is its `Retry-After` header.
    #[error("the server is busy")]
    Busy {
        /// When it may have, as it says it.
        retry_after: Option<String>,
    },
    /// It answered with a status that says nothing more.
    #[error("the server answered with HTTP {0}")]
    Status(u16),
    /// It sent more than is listened to; the text says of what.
    #[error("the server sent {0}")]
    TooMuch(String),
    /// It sent what the protocol does not know; the text says what.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(String),
    /// It speaks no revision that is spoken here; the text names those it speaks.
    #[error("the server speaks no revision of the protocol that is spoken here, but {0}")]
    Version(String),
    /// It answered with an error of JSON-RPC.
    #[error("the server answered with error {code}: {message}")]
    Rpc {
        /// Its number.
        code: i64,
        /// What it says, at most 500 characters.
        message: String,
    },
    /// It wants something of a person or a model before it goes on, which is not given.
    #[error("the server asks for {0} before it answers, which is not given here")]
    InputRequired(String),
    /// The session that it gave is over.
    #[error("the server has ended the session")]
    SessionOver,
}

impl ClientFailure {
    /// Whether the call certainly was not made: what failed did so before the server took it.
    pub fn is_before_call(&self) -> bool {
        match self {
            Self::Transport(failure) => matches!(
                failure,
                TransportFailure::Unreachable(_) | TransportFailure::Denied(_) | TransportFailure::Busy(_)
            ),
            Self::Redirected(_)
            | Self::Unauthorized(_)
            | Self::Busy { .. }
            | Self::Version(_)
            | Self::SessionOver => true,
            Self::TimedOut
            | Self::Status(_)
            | Self::TooMuch(_)
            | Self::Protocol(_)
            | Self::Rpc { .. }
            | Self::InputRequired(_) => false,
        }
    }
}

impl From<ReadFailure> for ClientFailure {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::TooLong(bytes_max) => Self::TooMuch(format!("more than {bytes_max} bytes")),
            ReadFailure::Transport(failure) => Self::Transport(failure),
        }
    }
}

impl From<crate::message::RpcError> for ClientFailure {
    fn from(error: crate::message::RpcError) -> Self {
        Self::Rpc { code: error.code, message: error.message.chars().take(TEXT_CHARACTERS_MAX).collect() }
    }
}
