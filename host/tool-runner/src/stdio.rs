//! Standard output and error of a tool, led to its log, up to a bound.

use crate::world::{LOGGED_BYTES_MAX, ToolWorld};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use waggle_engine::{LogStream, PrintStream};

/// Standard output and standard error of a call. Both share what is left of its bound.
pub(crate) fn streams(world: &Arc<dyn ToolWorld>) -> (PrintStream, PrintStream) {
    let left = Arc::new(AtomicUsize::new(LOGGED_BYTES_MAX));
    let stream = |stream| {
        let (world, left) = (Arc::clone(world), Arc::clone(&left));
        PrintStream::new(move |bytes| {
            let room = left.load(Relaxed);
            let kept = bytes.len().min(room);
            if kept > 0 {
                left.store(room - kept, Relaxed);
                world.log(stream, &bytes[..kept]);
            }
        })
    };
    (stream(LogStream::Out), stream(LogStream::Error))
}
