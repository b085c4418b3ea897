//! Calls of a tool over HTTP: counted here, decided and carried by its world.

use crate::key_value::Writes;
use crate::world::{SendTimes, ToolWorld};
use http::HeaderMap;
use std::sync::Arc;
use waggle_engine::{BodyError, WasiBody};
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks};

/// Fields that say something between functions and the host. A tool has no say in that.
const INTERNAL_PREFIX: &str = "waggle-";

type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), BodyError>> + Send>), BodyError>;

/// What `wasi:http` asks of the host.
pub(crate) struct Outbound {
    world: Arc<dyn ToolWorld>,
    writes: Writes,
    calls_max: u32,
    /// Calls it has asked for, those that were refused included.
    calls: u32,
}

impl Outbound {
    pub(crate) fn new(world: Arc<dyn ToolWorld>, writes: Writes, calls_max: u32) -> Self {
        Self { world, writes, calls_max, calls: 0 }
    }

    /// Calls it has asked for.
    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processing: Box<dyn Future<Output = Result<(), BodyError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.calls = self.calls.saturating_add(1);
        if self.calls > self.calls_max {
            return Box::new(async { Err(BodyError::ConnectionLimitReached) });
        }
        remove_internal(request.headers_mut());
        let (world, writes) = (Arc::clone(&self.world), self.writes.clone());
        let times = options.map_or_else(SendTimes::default, |options| SendTimes {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        });
        Box::new(async move {
            // What leaves may tell of what was written, so that has to be durable first.
            let durable = writes.durable().await;
            durable.map_err(|error| BodyError::InternalError(Some(error.to_string())))?;
            let response = world.send(request, times).await?;
            Ok((response, Box::new(async { Ok(()) }) as Box<_>))
        })
    }
}

fn remove_internal(fields: &mut HeaderMap) {
    let internal: Vec<_> =
        fields.keys().filter(|name| name.as_str().starts_with(INTERNAL_PREFIX)).cloned().collect();
    for name in internal {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_tool_cannot_speak_for_the_host() {
        let mut fields = HeaderMap::new();
        for name in ["waggle-tool", "waggle-user", "accept"] {
            fields.append(name, HeaderValue::from_static("x"));
            fields.append(name, HeaderValue::from_static("y"));
        }
        remove_internal(&mut fields);
        assert_eq!(fields.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
