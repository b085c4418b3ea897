//! A WebSocket's messages in both directions, with a bound on what was said and not yet sent.

use super::metered::{Metered, NoRoom};
use super::room::Memory;
use futures::{Sink as _, Stream as _};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

/// Bytes that were said and not sent, over which nothing more is read from the client.
const UNSENT_BYTES_MAX: usize = 1 << 20;
/// A control frame's head (RFC 6455, section 5.2): it has at most 125 bytes of payload.
const PONG_HEAD_BYTES: usize = 2;
/// Allocated for each connection when it begins.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Gathered before they are written, unless there is no more to say for the moment.
const WRITE_BUFFER_BYTES: usize = 16 << 10;

/// What comes from the other end, or becomes of it.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message.
    Text(Utf8Bytes),
    /// A message of bytes.
    Binary,
    /// A ping or a pong: the other end is there. A ping is answered already.
    Sign,
    /// All that was said has been sent.
    Sent,
    /// It wants to close; the answer to that is to be sent yet.
    Closing,
    /// It has closed, or gone.
    Closed,
    /// What it sent cannot be read on.
    Unreadable(Unreadable),
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A message over the bound.
    TooLarge,
    /// A message for which there is no memory at the moment.
    NoRoom,
    /// A text that is not UTF-8.
    NotUtf8,
    /// A violation of RFC 6455.
    Protocol,
}

/// One end of a WebSocket, the server's.
pub(crate) struct Socket<S> {
    inner: WebSocketStream<Metered<S>>,
    unsent: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// On a connection whose handshake is done.
    pub(crate) async fn new(connection: S, message_bytes_max: usize, memory: &Arc<Memory>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let connection = Metered::new(connection, memory);
        let inner = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        Self { inner, unsent: 0 }
    }

    /// Whether all that was said has been sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent == 0
    }

    /// Whether the other end does not take what was said.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.is_flushed() && self.inner.get_ref().is_blocked()
    }

    /// When the other end last showed that it is there.
    pub(crate) fn last_sign(&self) -> Instant {
        self.inner.get_ref().last_sign()
    }

    /// What happens next. Sends what was said meanwhile. Nothing is lost when it is dropped before.
    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = poll_fn(|cx| {
            if self.unsent > 0
                && let Poll::Ready(flushed) = Pin::new(&mut self.inner).poll_flush(cx)
            {
                self.unsent = 0;
                return Poll::Ready(if flushed.is_ok() { Heard::Sent } else { Heard::Closed });
            }
            if self.unsent > UNSENT_BYTES_MAX {
                return Poll::Pending;
            }
            let read = Pin::new(&mut self.inner).poll_next(cx);
            if let Poll::Ready(Some(Ok(Message::Ping(payload)))) = &read {
                // Its pong has been put behind what waits to be sent. Whoever pings and reads nothing is heard no more.
                self.unsent += payload.len() + PONG_HEAD_BYTES;
            }
            read.map(understand)
        })
        .await;
        if matches!(heard, Heard::Text(_) | Heard::Binary) {
            self.inner.get_mut().message_ended();
        }
        heard
    }

    /// Says a text, which [`Socket::hear`] sends. False when there is nobody to say it to.
    pub(crate) fn say(&mut self, text: impl Into<Utf8Bytes>) -> bool {
        self.send(Message::Text(text.into()))
    }

    /// Asks the other end for a sign. If there is nobody, the next look at the socket says so.
    pub(crate) fn ping(&mut self) {
        self.send(Message::Ping(Bytes::new()));
    }

    fn send(&mut self, message: Message) -> bool {
        self.unsent += message.len() + 1;
        Pin::new(&mut self.inner).start_send(message).is_ok()
    }

    /// Closes with `code`: sends what was said, and waits at most `wait_max` until the other end has agreed.
    pub(crate) async fn close(mut self, code: CloseCode, reason: &'static str, wait_max: Duration) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let goodbye = async {
            if !self.send(Message::Close(Some(frame))) {
                return;
            }
            loop {
                match self.hear().await {
                    Heard::Closed => return,
                    Heard::Unreadable(_) => break,
                    _ => {}
                }
            }
            self.discard().await;
        };
        let _ = tokio::time::timeout(wait_max, goodbye).await;
    }

    /// Agrees to the other end's wish to close, within `wait_max`.
    pub(crate) async fn agree(mut self, wait_max: Duration) {
        let goodbye = async { while !matches!(self.hear().await, Heard::Closed | Heard::Unreadable(_)) {} };
        let _ = tokio::time::timeout(wait_max, goodbye).await;
    }

    /// As [`Socket::close`], when nothing can be read any more: what still comes is thrown away, because with unread bytes
    /// in it the connection would be reset, and what was said lost on the way.
    pub(crate) async fn break_off(mut self, code: CloseCode, reason: &'static str, wait_max: Duration) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let goodbye = async {
            self.send(Message::Close(Some(frame)));
            let _ = poll_fn(|cx| Pin::new(&mut self.inner).poll_flush(cx)).await;
            self.discard().await;
        };
        let _ = tokio::time::timeout(wait_max, goodbye).await;
    }

    async fn discard(&mut self) {
        let connection = self.inner.get_mut();
        let _ = connection.shutdown().await;
        let mut thrown_away = [0_u8; 4 << 10];
        loop {
            connection.message_ended();
            if !matches!(connection.read(&mut thrown_away).await, Ok(bytes) if bytes > 0) {
                return;
            }
        }
    }
}

fn understand(read: Option<Result<Message, Error>>) -> Heard {
    match read {
        None => Heard::Closed,
        Some(Ok(Message::Close(_))) => Heard::Closing,
        Some(Ok(Message::Text(text))) => Heard::Text(text),
        Some(Ok(Message::Binary(_))) => Heard::Binary,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Sign,
        Some(Err(Error::Capacity(_))) => Heard::Unreadable(Unreadable::TooLarge),
        Some(Err(Error::Utf8(_))) => Heard::Unreadable(Unreadable::NotUtf8),
        Some(Err(Error::Io(error))) if is_no_room(&error) => Heard::Unreadable(Unreadable::NoRoom),
        Some(Err(Error::Protocol(violation))) if is_violation(&violation) => {
            Heard::Unreadable(Unreadable::Protocol)
        }
        Some(Err(_)) => Heard::Closed,
    }
}

fn is_no_room(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NoRoom>())
}

/// A connection that ends without a closing handshake is a violation as well, and none that anybody can be told of.
fn is_violation(error: &ProtocolError) -> bool {
    !matches!(error, ProtocolError::ResetWithoutClosingHandshake)
}
