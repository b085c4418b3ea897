//! Counters in a Redis: one script, one round trip.

use super::RedisStore;
use crate::{COUNTER_MAX, Commit, Counted, CounterChange, Error, Partition};

/// `KEYS`: the counters; `ARGV`: the largest number, then for each counter its correction, its charge, its bound or
/// nothing, and when it goes away in ms. Answers 0 or the first counter that is not below its bound, then the counters
/// as they are afterwards. The same step as in `counters.rs`.
pub(super) const COUNT: &str = r"
local most, refused, totals, before = tonumber(ARGV[1]), 0, {}, {}
for i, key in ipairs(KEYS) do
  local found = redis.call('GET', key)
  before[i] = 0
  if found then before[i] = string.match(found, '^%d+$') and tonumber(found) end
  if not before[i] or before[i] > most then return redis.error_reply('ERR counter ' .. i .. ' is not an integer') end
end
for i in ipairs(KEYS) do
  local at = 4 * i - 2
  totals[i] = math.max(0, math.min(most, before[i] + tonumber(ARGV[at])))
  if refused == 0 and ARGV[at + 2] ~= '' and totals[i] >= tonumber(ARGV[at + 2]) then refused = i end
end
for i, key in ipairs(KEYS) do
  local at = 4 * i - 2
  if refused == 0 then totals[i] = math.min(most, totals[i] + tonumber(ARGV[at + 1])) end
  if totals[i] ~= before[i] then
    redis.call('SET', key, string.format('%.0f', totals[i]))
    redis.call('PEXPIREAT', key, ARGV[at + 3])
  end
end
table.insert(totals, 1, refused)
return totals";

/// Doubles hold corrections exactly up to here; more than that moves a counter to its end in any case.
const CORRECTION_MAX: i64 = COUNTER_MAX as i64;

impl RedisStore {
    pub(super) async fn count_by_script(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        let mut call = self.count.prepare_invoke();
        call.arg(COUNTER_MAX);
        for change in changes {
            call.key(partition.full_key(&change.key));
            call.arg(change.correction.clamp(-CORRECTION_MAX, CORRECTION_MAX));
            call.arg(change.charge.min(COUNTER_MAX));
            call.arg(change.below.map_or_else(String::new, |below| below.to_string()));
            call.arg(change.expires_ms.min(COUNTER_MAX));
        }
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        let answer: Vec<u64> = answer
            .map_err(|error| self.number_error(&error, wrong_counter(changes, &error.to_string()), 0))?;
        let (refused, totals) = answer.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        let totals = totals.to_vec();
        let counted = match usize::try_from(refused).ok().and_then(|refused| refused.checked_sub(1)) {
            None => Counted::Charged { totals },
            Some(first) => Counted::Refused { first, totals },
        };
        Ok((counted, Commit::already_durable()))
    }
}

/// The key of the counter that the script found to be no number: the error names its position, from 1.
fn wrong_counter<'a>(changes: &'a [CounterChange], error: &str) -> &'a str {
    let position = error.split_once("counter ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let found = position.and_then(|position: usize| changes.get(position.checked_sub(1)?));
    found.or(changes.first()).map_or("", |change| &change.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_that_is_no_number_is_named() {
        let change = |key: &str| CounterChange {
            key: key.into(),
            correction: 0,
            charge: 0,
            below: None,
            expires_ms: 0,
        };
        let changes = ["a", "b"].map(change);
        let check =
            |error: &str, expected: &str| assert_eq!(wrong_counter(&changes, error), expected, "{error}");
        check("ResponseError: counter 2 is not an integer script: 1", "b");
        check("counter 1 is not an integer", "a");
        check("counter 9 is not an integer", "a");
        check("counter x", "a");
        assert_eq!(wrong_counter(&[], "counter 1 is"), "");
    }
}
