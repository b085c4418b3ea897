//! How much is kept, and for how long.

use std::time::Duration;

use serde::Deserialize;

use crate::config::between;

/// The longest time an answer is kept, in seconds: a week.
const TIME_TO_LIVE_S_MAX: u64 = 7 * 24 * 3_600;
/// The least that the bounds can be, in bytes: one answer of the largest size, and its place.
const CACHE_BYTES_MIN: u64 = 512 * 1024;
/// The most that the bounds can be, in bytes: 64 GiB.
const CACHE_BYTES_MAX: u64 = 64 << 30;

/// The host's part: the bounds. A value out of its bounds is refused where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerCacheConfig {
    /// How much is kept of all tenants together, in bytes. 512 KiB to 64 GiB; 64 MiB by default.
    #[serde(deserialize_with = "between::<_, CACHE_BYTES_MIN, CACHE_BYTES_MAX>")]
    pub bytes_max: u64,
    /// How much is kept of one tenant, in bytes. 512 KiB to 64 GiB; 8 MiB by default.
    #[serde(deserialize_with = "between::<_, CACHE_BYTES_MIN, CACHE_BYTES_MAX>")]
    pub tenant_bytes_max: u64,
    /// How long an answer is kept for a tenant that does not say, in seconds; 0 turns the cache off. 0 to 604,800 (a week);
    /// 0 by default.
    #[serde(deserialize_with = "between::<_, 0, TIME_TO_LIVE_S_MAX>")]
    pub time_to_live_s: u64,
}

impl Default for AnswerCacheConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, tenant_bytes_max: 8 << 20, time_to_live_s: 0 }
    }
}

/// A tenant's part. By default it has no answer cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSettings {
    /// How long an answer is kept, in seconds; 0 turns the cache off. 0 to 604,800 (a week); 0 by default.
    #[serde(deserialize_with = "between::<_, 0, TIME_TO_LIVE_S_MAX>")]
    pub time_to_live_s: u64,
}

impl AnswerSettings {
    /// How long an answer is kept, a week at most; `None` when the cache is off.
    #[must_use]
    pub fn time_to_live(&self) -> Option<Duration> {
        let seconds = self.time_to_live_s.min(TIME_TO_LIVE_S_MAX);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_off_until_a_tenant_turns_it_on() {
        assert_eq!(toml::from_str::<AnswerSettings>("").unwrap().time_to_live(), None);
        let on: AnswerSettings = toml::from_str("time_to_live_s = 60").unwrap();
        assert_eq!(on.time_to_live(), Some(Duration::from_secs(60)));
        let forever = AnswerSettings { time_to_live_s: u64::MAX };
        assert_eq!(forever.time_to_live(), Some(Duration::from_secs(604_800)), "also when built in code");
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_was_expected() {
        fn check<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str, parts: &[&str]) {
            let message = toml::from_str::<T>(text).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message} lacks {part:?}");
            }
        }
        check::<AnswerCacheConfig>("\nbytes_max = 1", &["line 2", "from 524288 to 68719476736, found 1"]);
        check::<AnswerCacheConfig>("tenant_bytes_max = -1", &["found -1"]);
        check::<AnswerCacheConfig>("byte_max = 1", &["unknown field `byte_max`", "`bytes_max`"]);
        check::<AnswerSettings>("time_to_live_s = 604801", &["from 0 to 604800"]);
        check::<AnswerSettings>("ttl = 1", &["unknown field `ttl`"]);
    }
}
