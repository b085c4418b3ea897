//! Counting and erasing all that one tenant has in a Redis: `SCAN` over the database, a script for the keys found.

use super::{RedisStore, pattern_of_prefix};
use crate::{Erased, Error, TenantPart, Usage};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64;

/// Keys that one `SCAN` looks at.
const SCAN_COUNT: usize = 1_000;
/// Keys that one call of the script handles: Redis does nothing else meanwhile.
const SCRIPT_KEYS_MAX: usize = 500;
/// Keys whose repetition is noticed (as `SCAN` repeats keys while Redis shrinks its table); some 20 MiB. Behind that
/// a repeated key is counted twice.
const SEEN_KEYS_MAX: usize = 1_000_000;
/// Walks that look for what was written during the one before.
const ERASE_WALKS_MAX: usize = 3;

/// `KEYS`: any; `ARGV`: EXISTS or UNLINK. The size of each value, or -1 where there is none.
pub(super) const SIZES: &str = r"
local sizes = {}
for i, key in ipairs(KEYS) do
  local size = redis.pcall('STRLEN', key)
  if type(size) ~= 'number' then size = 0 end
  if redis.call(ARGV[1], key) == 1 then sizes[i] = size else sizes[i] = -1 end
end
return sizes";

impl RedisStore {
    pub(super) async fn count(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        self.walk(tenant, "EXISTS").await
    }

    pub(super) async fn delete_all(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        let mut erased = Erased::default();
        for _ in 0..ERASE_WALKS_MAX {
            let deleted = self.walk(tenant, "UNLINK").await?;
            erased.keys += deleted.keys;
            erased.bytes += deleted.bytes;
            erased.remaining = self.count(tenant).await?.keys;
            if erased.remaining == 0 {
                break;
            }
        }
        Ok(erased)
    }

    /// Runs the command on every key of the tenant and adds up those it found.
    async fn walk(&self, tenant: &TenantPart, command: &str) -> Result<Usage, Error> {
        let pattern = pattern_of_prefix(tenant.prefix());
        let (mut usage, mut seen, mut position) = (Usage::default(), HashSet::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(position).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, mut found): (u64, Vec<Vec<u8>>) = self.read(&scan).await?;
            found.retain(|key| seen.len() >= SEEN_KEYS_MAX || seen.insert(xxh3_64(key)));
            for keys in found.chunks(SCRIPT_KEYS_MAX) {
                let sizes = self.sizes_of(keys, command).await?;
                for (key, size) in keys.iter().zip(sizes) {
                    let Ok(value_bytes) = u64::try_from(size) else { continue };
                    usage.keys += 1;
                    usage.bytes += tenant.guest_key_bytes(key) + value_bytes;
                }
            }
            position = next;
            if position == 0 {
                return Ok(usage);
            }
        }
    }

    async fn sizes_of(&self, keys: &[Vec<u8>], command: &str) -> Result<Vec<i64>, Error> {
        let mut call = self.sizes.prepare_invoke();
        keys.iter().for_each(|key| {
            call.key(&key[..]);
        });
        let answer = call.arg(command).invoke_async(&mut self.connection.clone()).await;
        answer.map_err(|error| self.error(&error))
    }
}
