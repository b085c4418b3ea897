//! A streamed chat completion on its way through.

use crate::completion::CompletionHead;
use crate::fallback::{Fallback, Reader};
use crate::platform::{Platform, Sink};
use crate::problem::Problem;
use crate::race::{First, race};
use crate::scout::Scout;
use crate::service::report;
use waggle_model::ModelFailure;
use waggle_model::splice::{EventPatcher, Patch};
use waggle_model::transport::{ChunkSource, Replayed};

/// A streamed chat completion on its way through.
#[derive(Debug)]
pub struct RelayedStream<P, B> {
    platform: P,
    body: Replayed<B>,
    head: CompletionHead,
    reader: Reader,
    /// Looks whether the model has said something; `None` once it has.
    scout: Option<Scout>,
    /// Changes the events and keeps back what is no whole event; `None` once there is nothing to change and nothing
    /// that could still be replaced.
    patcher: Option<EventPatcher>,
    patched: bool,
}

impl<P: Platform, B: ChunkSource> RelayedStream<P, B> {
    pub(crate) fn new(
        platform: P,
        body: Replayed<B>,
        patch: Patch,
        head: CompletionHead,
        reader: Reader,
    ) -> Self {
        let patched = patch.model.is_some();
        let patcher = Some(EventPatcher::new(patch));
        Self { platform, body, head, reader, scout: Some(Scout::default()), patcher, patched }
    }

    /// Hands every chunk on as it arrives. A client that goes away ends the call upstream.
    pub(crate) async fn run<K: Sink>(mut self, mut sink: K) {
        loop {
            let chunk = match race(self.body.next_chunk(), sink.gone()).await {
                First::Left(chunk) => chunk,
                First::Right(()) => return,
            };
            let passed = match chunk {
                Ok(Some(chunk)) => self.pass(chunk),
                Ok(None) => {
                    if let Err(failure) = self.scout.as_mut().map_or(Ok(()), Scout::end) {
                        return self.fail(&failure, &mut sink).await;
                    }
                    let rest = self.patcher.as_mut().map(EventPatcher::finish).unwrap_or_default();
                    if !rest.is_empty() {
                        let _gone = sink.write(rest).await;
                    }
                    return;
                }
                Err(failure) => Err(failure.into()),
            };
            match passed {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    if sink.write(events).await.is_err() {
                        return;
                    }
                }
                Err(failure) => return self.fail(&failure, &mut sink).await,
            }
        }
    }

    /// What is to be handed on of a chunk. Until the model has said something, only whole events are: a text that takes
    /// the place of the rest must not begin in the middle of one.
    fn pass(&mut self, chunk: Vec<u8>) -> Result<Vec<u8>, ModelFailure> {
        if let Some(scout) = &mut self.scout {
            scout.see(&chunk)?;
            if scout.has_said_something() {
                self.scout = None;
            }
        }
        let Some(patcher) = &mut self.patcher else { return Ok(chunk) };
        let mut events = patcher.push(chunk);
        if self.scout.is_none() && !self.patched {
            events.extend(patcher.finish());
            self.patcher = None;
        }
        Ok(events)
    }

    /// Ends the stream: by a text in the model's place if it has said nothing, else by an error.
    async fn fail<K: Sink>(self, failure: &ModelFailure, sink: &mut K) {
        if self.scout.is_some()
            && let Some(fallback) = Fallback::find(&self.platform, failure, self.reader).await
        {
            self.platform.log(&format!("fallback={} {failure}", fallback.reason));
            let _gone = sink.write(self.head.fallback_body(&fallback)).await;
            return;
        }
        let reply = report(&self.platform, &Problem::from(failure));
        // The stream may have been cut in the middle of an event, which the empty line ends.
        let event = [b"\n\ndata: ", reply.body.as_slice(), b"\n\n"].concat();
        let _gone = sink.write(event).await;
    }
}
