//! The store on Redis or Valkey: the same keys, one prefix per partition, over one pipelined connection.
//!
//! A write is durable, as far as this crate can tell, when Redis has answered: how much survives the end of the
//! Redis is set there (`appendfsync`).

use crate::{
    Commit, Counted, CounterChange, Erased, Error, KeyPage, Partition, Place, StoreMetrics, StoreOptions,
    Swap, TenantPart, Usage, checked::Medium, redis_url::RedisUrl,
};
use bytes::Bytes;
use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

mod counting;
mod tenant;

const CONNECT_TIMEOUT_MS: u64 = 2_000;
const RESPONSE_TIMEOUT_MS: u64 = 5_000;
const RECONNECT_ATTEMPTS_MAX: usize = 3;
const RECONNECT_DELAY_MS_MIN: u64 = 20;
const RECONNECT_DELAY_MS_MAX: u64 = 500;
/// Calls of `SCAN` that one page makes before it returns what it has.
const SCANS_PER_PAGE_MAX: usize = 32;
/// Keys that one `SCAN` looks at, at least: it passes over the keys of all partitions.
const SCAN_COUNT_MIN: usize = 500;

/// `KEYS[1]`; `ARGV`: "1" if a value is expected, the expected value, the new value, time to live in ms or "0".
const COMPARE_AND_SWAP: &str = r"
local current = redis.call('GET', KEYS[1])
local matches = (ARGV[1] == '1' and current == ARGV[2]) or (ARGV[1] == '0' and not current)
if not matches then return {0, current} end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return {1, false}";

/// `KEYS[1]`; `ARGV`: the delta, time to live in ms.
const INCREMENT_AND_EXPIRE: &str = r"
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tostring(redis.call('GET', KEYS[1]))";

/// `KEYS`: those that are compared, then those that are changed; `ARGV`: how many are compared, time to live in ms or
/// "0", then for each key "1" and a value, or "0" and nothing.
const SWAP_MANY: &str = r"
local compared, arg = tonumber(ARGV[1]), 3
for i = 1, compared do
  local current = redis.call('GET', KEYS[i])
  local matches = (ARGV[arg] == '1' and current == ARGV[arg + 1]) or (ARGV[arg] == '0' and not current)
  if not matches then return 0 end
  arg = arg + 2
end
for i = compared + 1, #KEYS do
  if ARGV[arg] == '0' then redis.call('UNLINK', KEYS[i])
  elseif ARGV[2] == '0' then redis.call('SET', KEYS[i], ARGV[arg + 1])
  else redis.call('SET', KEYS[i], ARGV[arg + 1], 'PX', ARGV[2]) end
  arg = arg + 2
end
return 1";

/// A store on Redis or Valkey.
pub struct RedisStore {
    connection: ConnectionManager,
    url: Arc<str>,
    time_to_live_ms: Option<u64>,
    compare_and_swap: Script,
    increment_and_expire: Script,
    swap_many: Script,
    count: Script,
    sizes: Script,
    metrics: StoreMetrics,
    is_closed: AtomicBool,
}

impl RedisStore {
    /// Connects. A connection that breaks later is made anew in the background.
    ///
    /// # Errors
    /// [`Error::Config`] when the address is wrong, [`Error::Unreachable`] when nobody answers in time there,
    /// [`Error::Refused`] when the password is wrong.
    pub async fn connect(url: &str, options: StoreOptions) -> Result<Self, Error> {
        Self::connect_to(&RedisUrl::parse(url)?, options).await
    }

    pub(crate) async fn connect_to(url: &RedisUrl, options: StoreOptions) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)))
            .set_response_timeout(Some(Duration::from_millis(RESPONSE_TIMEOUT_MS)))
            .set_number_of_retries(RECONNECT_ATTEMPTS_MAX)
            .set_min_delay(Duration::from_millis(RECONNECT_DELAY_MS_MIN))
            .set_max_delay(Duration::from_millis(RECONNECT_DELAY_MS_MAX));
        let connected = ConnectionManager::new_with_config(url.client().clone(), config).await;
        let connection = connected.map_err(|error| describe(url.shown(), &error))?;
        let time_to_live_ms =
            options.time_to_live.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1));
        Ok(Self {
            connection,
            url: url.shown().clone(),
            time_to_live_ms,
            compare_and_swap: Script::new(COMPARE_AND_SWAP),
            increment_and_expire: Script::new(INCREMENT_AND_EXPIRE),
            swap_many: Script::new(SWAP_MANY),
            count: Script::new(counting::COUNT),
            sizes: Script::new(tenant::SIZES),
            metrics: StoreMetrics::default(),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Runs a command that only reads. It is run again once if the connection broke, which harms nobody.
    async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let mut connection = self.connection.clone();
        let mut result = command.query_async(&mut connection).await;
        if result.as_ref().is_err_and(|error: &RedisError| error.is_connection_dropped()) {
            result = command.query_async(&mut connection).await;
        }
        result.map_err(|error| self.error(&error))
    }

    /// Runs a command that writes. It is never run again: it may have been applied though no answer came.
    async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        command.query_async(&mut self.connection.clone()).await.map_err(|error| self.error(&error))
    }

    fn set_command(&self, partition: &Partition, key: &str, value: &[u8]) -> Cmd {
        let mut command = redis::cmd("SET");
        command.arg(partition.full_key(key)).arg(value);
        if let Some(ms) = self.time_to_live_ms {
            command.arg("PX").arg(ms);
        }
        command
    }

    fn error(&self, error: &RedisError) -> Error {
        describe(&self.url, error)
    }

    fn number_error(&self, error: &RedisError, key: &str, delta: i64) -> Error {
        let text = error.to_string();
        if text.contains("not an integer") {
            Error::NotANumber { key: key.to_owned() }
        } else if text.contains("would overflow") {
            Error::Overflow { key: key.to_owned(), delta }
        } else {
            self.error(error)
        }
    }
}

/// Tells an answer of Redis from the lack of one: every error that Redis sends has a code.
fn describe(url: &Arc<str>, error: &RedisError) -> Error {
    let (url, reason) = (url.clone(), error.to_string());
    let is_refused = error.code().is_some() || error.kind() == ErrorKind::AuthenticationFailed;
    let is_starting = error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading);
    if is_refused && !is_starting {
        Error::Refused { url, reason }
    } else {
        Error::Unreachable { url, reason }
    }
}

impl Medium for RedisStore {
    fn closed(&self) -> &AtomicBool {
        &self.is_closed
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    async fn get(&self, partition: &Partition, key: &str) -> Result<Option<Bytes>, Error> {
        let value: Option<Vec<u8>> = self.read(redis::cmd("GET").arg(partition.full_key(key))).await?;
        Ok(value.map(Bytes::from))
    }

    async fn exists(&self, partition: &Partition, key: &str) -> Result<bool, Error> {
        self.read(redis::cmd("EXISTS").arg(partition.full_key(key))).await
    }

    async fn get_many(&self, partition: &Partition, keys: &[String]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(partition.full_key(key));
        }
        let values: Vec<Option<Vec<u8>>> = self.read(&command).await?;
        Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect())
    }

    async fn keys(
        &self,
        partition: &Partition,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<KeyPage, Error> {
        let mut position: u64 = cursor.map_or(Ok(0), str::parse).map_err(|_| Error::InvalidCursor)?;
        let pattern = pattern_of_prefix(&partition.full_key(prefix));
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        for _ in 0..SCANS_PER_PAGE_MAX {
            let mut scan = redis::cmd("SCAN");
            scan.arg(position).arg("MATCH").arg(&pattern).arg("COUNT").arg(limit.max(SCAN_COUNT_MIN));
            let (next, found): (u64, Vec<Vec<u8>>) = self.read(&scan).await?;
            for full in found {
                let key = full.get(partition.prefix().len()..).unwrap_or_default().to_vec();
                // A key in our space that is not UTF-8 was not written by us; it cannot be named, so it is not.
                if let Ok(key) = String::from_utf8(key)
                    && seen.insert(key.clone())
                {
                    keys.push(key);
                }
            }
            position = next;
            if position == 0 || keys.len() >= limit {
                break;
            }
        }
        Ok(KeyPage { keys, cursor: (position != 0).then(|| position.to_string()) })
    }

    async fn set(&self, partition: &Partition, key: &str, value: Bytes) -> Result<Commit, Error> {
        let () = self.write(&self.set_command(partition, key, &value)).await?;
        Ok(Commit::already_durable())
    }

    async fn delete(&self, partition: &Partition, key: &str) -> Result<Commit, Error> {
        let () = self.write(redis::cmd("UNLINK").arg(partition.full_key(key))).await?;
        Ok(Commit::already_durable())
    }

    async fn set_many(
        &self,
        partition: &Partition,
        entries: Vec<(String, Bytes)>,
        _bytes: usize,
    ) -> Result<Commit, Error> {
        // MULTI and EXEC in one go, so that nobody sees a part of it.
        let mut transaction = redis::pipe();
        transaction.atomic();
        for (key, value) in &entries {
            transaction.add_command(self.set_command(partition, key, value)).ignore();
        }
        let mut connection = self.connection.clone();
        let () = transaction.query_async(&mut connection).await.map_err(|error| self.error(&error))?;
        Ok(Commit::already_durable())
    }

    async fn delete_many(&self, partition: &Partition, keys: Vec<String>) -> Result<Commit, Error> {
        let mut command = redis::cmd("UNLINK");
        for key in &keys {
            command.arg(partition.full_key(key));
        }
        let () = self.write(&command).await?;
        Ok(Commit::already_durable())
    }

    async fn increment(&self, partition: &Partition, key: &str, delta: i64) -> Result<(i64, Commit), Error> {
        let (full, mut connection) = (partition.full_key(key), self.connection.clone());
        let sum = match self.time_to_live_ms {
            None => redis::cmd("INCRBY").arg(full).arg(delta).query_async(&mut connection).await,
            Some(ms) => {
                self.increment_and_expire.key(full).arg(delta).arg(ms).invoke_async(&mut connection).await
            }
        };
        let sum = sum.map_err(|error| self.number_error(&error, key, delta))?;
        Ok((sum, Commit::already_durable()))
    }

    async fn compare_and_swap(
        &self,
        partition: &Partition,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
    ) -> Result<Swap, Error> {
        let mut call = self.compare_and_swap.prepare_invoke();
        call.key(partition.full_key(key));
        call.arg(u8::from(expected.is_some())).arg(expected.map_or(&[][..], |bytes| bytes)).arg(&value[..]);
        call.arg(self.time_to_live_ms.unwrap_or(0));
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        let (is_done, current): (bool, Option<Vec<u8>>) = answer.map_err(|error| self.error(&error))?;
        if is_done {
            return Ok(Swap::Done(Commit::already_durable()));
        }
        Ok(Swap::Changed(current.map(Bytes::from)))
    }

    async fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<Option<Commit>, Error> {
        let mut call = self.swap_many.prepare_invoke();
        call.arg(expected.len()).arg(self.time_to_live_ms.unwrap_or(0));
        for (key, value) in expected.iter().chain(&changes) {
            call.key(partition.full_key(key));
            call.arg(u8::from(value.is_some())).arg(value.as_deref().unwrap_or_default());
        }
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        let is_done: bool = answer.map_err(|error| self.error(&error))?;
        Ok(is_done.then(Commit::already_durable))
    }

    async fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        self.count_by_script(partition, changes).await
    }

    async fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        self.count(tenant).await
    }

    async fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        self.delete_all(tenant).await
    }

    fn place(&self) -> Place {
        Place::Server(self.url.clone())
    }

    fn options(&self) -> StoreOptions {
        StoreOptions { time_to_live: self.time_to_live_ms.map(Duration::from_millis) }
    }

    fn applied(&self) -> Commit {
        Commit::already_durable()
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The glob pattern that matches every key with this prefix and no other.
fn pattern_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 8);
    for byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'-' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_a_prefix_match_only_themselves() {
        assert_eq!(pattern_of_prefix(b"a*[?]\\\x00\xff"), b"a\\*\\[\\?\\]\\\\\x00\xff*");
    }
}
