//! Calls between functions that never leave the process: `http://NAME.spin.internal` and `http://self`.

use crate::request::CallContext;
use async_trait::async_trait;
use waggle_tenancy::TenantId;
use wasmtime_wasi_http::WasiBody;

/// The top-level name of calls between functions, as Spin defines it.
const INTERNAL_SUFFIX: &str = ".spin.internal";

/// Where a call inside the application goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InternalTarget {
    /// `http://NAME.spin.internal`: that function, private routes included.
    Function(String),
    /// `http://self` or a relative URL: whatever function the path is routed to.
    Application,
}

/// Which internal target a host name means, if any.
#[must_use]
pub fn internal_target(host: &str) -> Option<InternalTarget> {
    if host.is_empty() || host.eq_ignore_ascii_case("self") || host.eq_ignore_ascii_case("self.alt") {
        return Some(InternalTarget::Application);
    }
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix(INTERNAL_SUFFIX)?;
    Some(InternalTarget::Function(name.to_owned()))
}

/// Takes a call from one function to another of the same application, on behalf of the same tenant.
#[async_trait]
pub trait InternalCalls: Send + Sync + 'static {
    /// Answers `request`; errors become responses.
    async fn call(
        &self,
        tenant: &TenantId,
        target: InternalTarget,
        request: http::Request<WasiBody>,
        context: CallContext,
    ) -> http::Response<WasiBody>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_hosts_are_told_from_others() {
        let check = |host: &str, expected: Option<InternalTarget>| {
            assert_eq!(internal_target(host), expected, "{host}");
        };
        check("chat.spin.internal", Some(InternalTarget::Function("chat".into())));
        check("CHAT.Spin.Internal", Some(InternalTarget::Function("chat".into())));
        check("self", Some(InternalTarget::Application));
        check("", Some(InternalTarget::Application));
        check("spin.internal", None);
        check("chat.spin.internal.example.com", None);
        check("example.com", None);
    }
}
