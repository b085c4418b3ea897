//! Clock, randomness, variables and the log.

use crate::{neighbour, tokenizer, work};
use spin_sdk::variables;
use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use spin_sdk::wasip3::random::random::get_random_u64;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use waggle_model::transport::TransportFailure;
use waggle_platform::{NeighbourAnswer, NeighbourCall, Platform, QueueFailure, TokenCount};

const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// For how long a variable is what it was. Where a host lets variables change under a running instance, a change is seen
/// after this.
const VARIABLES_MS_MAX: u64 = 1_000;

/// Variables as they were read, and when the first of them was.
#[derive(Default)]
struct Variables {
    since_ms: u64,
    /// How often they were forgotten.
    version: u64,
    values: HashMap<String, Option<String>>,
}

thread_local! {
    /// One instance serves many requests, and a turn wants nine variables, each a call of the host.
    static VARIABLES: RefCell<Variables> = RefCell::default();
}

/// The component's surroundings, for one request.
#[derive(Clone)]
pub struct WasiPlatform {
    began_ms: u64,
}

fn now_ms() -> u64 {
    let now = system_clock::now();
    u64::try_from(now.seconds).unwrap_or(0) * 1000 + u64::from(now.nanoseconds) / 1_000_000
}

impl WasiPlatform {
    /// That of a request which begins now.
    #[expect(clippy::new_without_default, reason = "what begins now is no default")]
    pub fn new() -> Self {
        Self { began_ms: now_ms() }
    }

    /// Looks into the variables that are known, where that is recent.
    fn with_known<T>(&self, look: impl FnOnce(&Variables) -> T) -> T {
        VARIABLES.with_borrow_mut(|known| {
            // A clock may go back.
            if self.began_ms.abs_diff(known.since_ms) >= VARIABLES_MS_MAX {
                let version = known.version + 1;
                *known = Variables { since_ms: self.began_ms, version, values: HashMap::new() };
            }
            look(known)
        })
    }
}

impl Platform for WasiPlatform {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + 'static {
        monotonic_clock::wait_for(ms.saturating_mul(NANOSECONDS_PER_MS))
    }

    fn random(&self) -> u128 {
        u128::from(get_random_u64()) << 64 | u128::from(get_random_u64())
    }

    async fn variable(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(known) = self.with_known(|known| known.values.get(name).cloned()) {
            return Ok(known);
        }
        let value = match variables::get(name).await {
            Ok(value) => Some(value),
            Err(variables::Error::Undefined(_)) => None,
            Err(error) => return Err(error.to_string()),
        };
        VARIABLES.with_borrow_mut(|known| known.values.insert(name.to_owned(), value.clone()));
        Ok(value)
    }

    fn variables_version(&self) -> Option<u64> {
        Some(self.with_known(|known| known.version))
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }

    fn count_tokens(&self, model: &str, texts: &[&str]) -> Vec<TokenCount> {
        tokenizer::count(model, texts)
    }

    async fn enqueue(&self, path: &str) -> Result<(), QueueFailure> {
        work::enqueue(path).await
    }

    async fn call_neighbour(&self, call: NeighbourCall<'_>) -> Result<NeighbourAnswer, TransportFailure> {
        neighbour::call(call, "").await
    }

    async fn call_neighbour_once(
        &self,
        call: NeighbourCall<'_>,
        idempotency_key: &str,
    ) -> Result<NeighbourAnswer, TransportFailure> {
        neighbour::call(call, idempotency_key).await
    }
}
