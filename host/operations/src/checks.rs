//! Whether the host is ready: a list of checks by name, each with its deadline, made side by side.

use futures::future::{BoxFuture, FutureExt as _, join_all};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long a check may take, milliseconds; then it has failed.
pub const CHECK_TIMEOUT_MS_MAX: u64 = 2_000;
/// How long a result is told again, milliseconds, so that many who ask cost no more than one.
const REUSE_MS_MAX: u64 = 250;

/// What a check returns when it fails: a sentence for the operator, without secrets.
pub type Failure = String;

type Run = Box<dyn Fn() -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// The checks by which the host is ready. Without any, it is.
#[derive(Default)]
pub struct Checks {
    checks: Vec<Check>,
    last: Mutex<Option<(Instant, Arc<Readiness>)>>,
}

struct Check {
    name: &'static str,
    run: Run,
    timeout: Duration,
}

/// What the checks found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    checks: Vec<Finding>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    name: &'static str,
    /// `ok` or `failed`.
    status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Failure>,
}

impl Checks {
    /// Without a check.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, which may take [`CHECK_TIMEOUT_MS_MAX`].
    #[must_use]
    pub fn with<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.with_timeout(name, Duration::from_millis(CHECK_TIMEOUT_MS_MAX), check)
    }

    /// Adds a check, which may take `timeout`.
    #[must_use]
    pub fn with_timeout<F, R>(mut self, name: &'static str, timeout: Duration, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.checks.push(Check { name, run: Box::new(move || check().boxed()), timeout });
        self
    }

    /// Makes all checks, or tells what they found a moment ago. Whoever asks meanwhile waits for the same result.
    pub async fn readiness(&self) -> Arc<Readiness> {
        let mut last = self.last.lock().await;
        if let Some((when, readiness)) = &*last
            && when.elapsed() < Duration::from_millis(REUSE_MS_MAX)
        {
            return Arc::clone(readiness);
        }
        let checks = join_all(self.checks.iter().map(Check::find)).await;
        let is_ready = checks.iter().all(|finding| finding.reason.is_none());
        let status = if is_ready { "ready" } else { "not_ready" };
        let readiness = Arc::new(Readiness { status, checks });
        *last = Some((Instant::now(), Arc::clone(&readiness)));
        readiness
    }
}

impl Check {
    async fn find(&self) -> Finding {
        let result = timeout(self.timeout, (self.run)()).await;
        let reason = match result {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_elapsed) => Some(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        let status = if reason.is_none() { "ok" } else { "failed" };
        Finding { name: self.name, status, reason }
    }
}

impl Readiness {
    /// Whether all checks passed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|finding| finding.reason.is_none())
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn each_check_is_told_with_its_reason() {
        let checks = Checks::new()
            .with("functions", || async { Ok(()) })
            .with("stores", || async { Err("Redis does not answer".to_owned()) })
            .with("clock", std::future::pending);
        let before = Instant::now();
        let readiness = checks.readiness().await;
        assert_eq!(before.elapsed(), Duration::from_millis(CHECK_TIMEOUT_MS_MAX));
        assert!(!readiness.is_ready());
        let json = serde_json::to_value(&*readiness).unwrap();
        let expected = serde_json::json!({"status": "not_ready", "checks": [
            {"name": "functions", "status": "ok"},
            {"name": "stores", "status": "failed", "reason": "Redis does not answer"},
            {"name": "clock", "status": "failed", "reason": "no answer within 2000 ms"},
        ]});
        assert_eq!(json, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_cost_one_round() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rounds);
        let checks = Checks::new().with("stores", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        let all = join_all((0..100).map(|_| checks.readiness())).await;
        assert!(all.iter().all(|readiness| readiness.is_ready()));
        assert_eq!(rounds.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_millis(REUSE_MS_MAX)).await;
        assert!(checks.readiness().await.is_ready());
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_host_without_checks_is_ready() {
        assert!(Checks::new().readiness().await.is_ready());
    }
}
