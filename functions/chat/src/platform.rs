//! Clock, randomness, variables and the log.

use spin_sdk::variables;
use spin_sdk::wasip3::clocks::system_clock;
use spin_sdk::wasip3::random::random::get_random_u64;
use waggle_chat::platform::Platform;

/// The component's surroundings.
pub(crate) struct WasiPlatform;

impl Platform for WasiPlatform {
    fn now_ms(&self) -> u64 {
        let now = system_clock::now();
        u64::try_from(now.seconds).unwrap_or(0) * 1000 + u64::from(now.nanoseconds) / 1_000_000
    }

    fn random(&self) -> u128 {
        u128::from(get_random_u64()) << 64 | u128::from(get_random_u64())
    }

    async fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match variables::get(name).await {
            Ok(value) => Ok(Some(value)),
            Err(variables::Error::Undefined(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}
