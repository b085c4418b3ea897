//! Counters, the last requests, and the [`Handle`] through which tests read both.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::SimConfig;

/// The counters of a simulated model, since its start or the last reset. Only completions and responses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Requests answered in full, error answers included.
    pub completed: u64,
    /// Requests whose client went away before the end of the answer.
    pub cancelled: u64,
    /// Requests whose connection was broken because a fault asked for it.
    pub faulted: u64,
    /// Requests answered in full with a status from 400 up; counted in `completed`, too.
    pub errors: u64,
    /// TCP connections accepted; shows whether a client pools.
    pub connections: u64,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// 1 for the first request since the start or the last reset.
    pub sequence: u64,
    /// Such as `/v1/responses`.
    pub path: String,
    /// Names are lower case; values that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// At most `recorded_body_bytes_max` bytes of the body.
    pub body: Vec<u8>,
    /// How answering it ended; `None` while it goes on.
    pub outcome: Option<Outcome>,
}

impl RecordedRequest {
    fn to_json(&self) -> Value {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let body: Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned().into());
        json!({
            "sequence": self.sequence,
            "path": self.path,
            "headers": headers,
            "body": body,
            "outcome": self.outcome,
        })
    }
}

/// What was asked under one idempotency key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeyedRequests {
    /// Requests that arrived.
    pub requests: u64,
    /// Of these, answered in full with a completion: what a real endpoint would have charged for.
    pub completed: u64,
}

/// Counters and recordings of one simulated model, shared by its connections.
#[derive(Debug)]
pub(crate) struct Ledger {
    requests: AtomicU64,
    in_flight: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
    faulted: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    recorded: Mutex<VecDeque<RecordedRequest>>,
    recorded_max: usize,
    recorded_body_bytes_max: usize,
    attempts: Mutex<HashMap<String, u32>>,
    keyed: Mutex<BTreeMap<String, KeyedRequests>>,
}

/// `fail_first` counts at most this many keys; further ones are not made to fail.
const ATTEMPT_KEYS_MAX: usize = 4_096;
/// Requests are counted by at most this many idempotency keys.
const IDEMPOTENCY_KEYS_MAX: usize = 65_536;
const IDEMPOTENCY_KEY_FIELD: &str = "idempotency-key";

impl Ledger {
    pub(crate) fn new(config: &SimConfig) -> Self {
        Self {
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            recorded: Mutex::new(VecDeque::new()),
            recorded_max: config.recorded_requests_max,
            recorded_body_bytes_max: config.recorded_body_bytes_max,
            attempts: Mutex::new(HashMap::new()),
            keyed: Mutex::new(BTreeMap::new()),
        }
    }

    /// Counts a request in; the guard counts it out.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let sequence = self.requests.fetch_add(1, Relaxed) + 1;
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { ledger: Arc::clone(self), sequence, outcome: Outcome::Cancelled, key: None }
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn record(&self, sequence: u64, head: &Parts, body: &Bytes) {
        if self.recorded_max == 0 {
            return;
        }
        let kept = body.len().min(self.recorded_body_bytes_max);
        let headers = head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let request = RecordedRequest {
            sequence,
            path: head.uri.path().to_owned(),
            headers: headers.collect(),
            body: body[..kept].to_vec(),
            outcome: None,
        };
        let mut recorded = unpoisoned(&self.recorded);
        if recorded.len() >= self.recorded_max {
            recorded.pop_front();
        }
        recorded.push_back(request);
    }

    /// Notes how a request ended, if it is still remembered.
    fn note(&self, sequence: u64, outcome: Outcome) {
        if self.recorded_max == 0 {
            return;
        }
        // The newest end first, as a rule.
        let mut recorded = unpoisoned(&self.recorded);
        if let Some(request) = recorded.iter_mut().rev().find(|request| request.sequence == sequence) {
            request.outcome = Some(outcome);
        }
    }

    /// Whether this is one of the first `count` requests of this key.
    pub(crate) fn is_among_first(&self, key: &str, count: u32) -> bool {
        let mut attempts = unpoisoned(&self.attempts);
        if attempts.len() >= ATTEMPT_KEYS_MAX && !attempts.contains_key(key) {
            return false;
        }
        let seen = attempts.entry(key.to_owned()).or_insert(0);
        *seen = seen.saturating_add(1);
        *seen <= count
    }

    /// Counts by an idempotency key.
    fn count_keyed(&self, key: &str, count: impl FnOnce(&mut KeyedRequests)) {
        let mut keyed = unpoisoned(&self.keyed);
        if keyed.len() < IDEMPOTENCY_KEYS_MAX || keyed.contains_key(key) {
            count(keyed.entry(key.to_owned()).or_default());
        }
    }

    fn stats(&self) -> Stats {
        Stats {
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            completed: self.completed.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            faulted: self.faulted.load(Relaxed),
            errors: self.errors.load(Relaxed),
            connections: self.connections.load(Relaxed),
        }
    }

    /// What is in flight stays so: it is still being answered.
    fn reset(&self) {
        for counter in [&self.requests, &self.completed, &self.cancelled, &self.faulted, &self.errors] {
            counter.store(0, Relaxed);
        }
        self.connections.store(0, Relaxed);
        unpoisoned(&self.recorded).clear();
        unpoisoned(&self.attempts).clear();
        unpoisoned(&self.keyed).clear();
    }
}

/// The data behind the locks is valid after any panic: each is changed by a single call.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its client went away before the end of the answer.
    Cancelled,
    /// It was answered in full.
    Completed,
    /// It was answered in full with a status from 400 up.
    Failed,
    /// Its connection was broken because a fault asked for it.
    Faulted,
}

/// A request being answered. Dropped before its end it counts as cancelled.
#[derive(Debug)]
pub(crate) struct InFlight {
    ledger: Arc<Ledger>,
    pub(crate) sequence: u64,
    outcome: Outcome,
    /// Its idempotency key, if it has one.
    key: Option<String>,
}

impl InFlight {
    /// Counts it under its idempotency key, if it has one.
    pub(crate) fn under_key(mut self, headers: &HeaderMap) -> Self {
        let key = headers.get(IDEMPOTENCY_KEY_FIELD).and_then(|value| value.to_str().ok());
        if let Some(key) = key {
            self.ledger.count_keyed(key, |counted| counted.requests += 1);
            self.key = Some(key.to_owned());
        }
        self
    }

    pub(crate) fn completed(mut self) {
        self.outcome = Outcome::Completed;
    }

    /// Answered in full with an error status.
    pub(crate) fn failed(mut self) {
        self.outcome = Outcome::Failed;
    }

    pub(crate) fn faulted(mut self) {
        self.outcome = Outcome::Faulted;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let ledger = &self.ledger;
        match self.outcome {
            Outcome::Cancelled => ledger.cancelled.fetch_add(1, Relaxed),
            Outcome::Completed => ledger.completed.fetch_add(1, Relaxed),
            Outcome::Faulted => ledger.faulted.fetch_add(1, Relaxed),
            Outcome::Failed => {
                ledger.errors.fetch_add(1, Relaxed);
                ledger.completed.fetch_add(1, Relaxed)
            }
        };
        if let (Outcome::Completed, Some(key)) = (self.outcome, &self.key) {
            ledger.count_keyed(key, |counted| counted.completed += 1);
        }
        ledger.in_flight.fetch_sub(1, Relaxed);
        ledger.note(self.sequence, self.outcome);
    }
}

/// Reads and resets a running simulated model from the same process.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) ledger: Arc<Ledger>,
}

impl Handle {
    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.ledger.stats()
    }

    /// The last requests, oldest first, at most `recorded_requests_max`.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        unpoisoned(&self.ledger.recorded).iter().cloned().collect()
    }

    /// What was asked under each idempotency key, of at most 65,536 of them.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, KeyedRequests> {
        unpoisoned(&self.ledger.keyed).clone()
    }

    /// Sets every counter but `in_flight` to zero and forgets the requests.
    pub fn reset(&self) {
        self.ledger.reset();
    }

    /// The body of `GET /sim/stats`.
    pub(crate) fn stats_json(&self) -> Bytes {
        serde_json::to_vec(&self.stats()).unwrap_or_default().into()
    }

    /// The body of `GET /sim/keys`: what was asked under each key, and how many were answered more than once.
    pub(crate) fn keys_json(&self) -> Bytes {
        let keys = self.keys();
        let repeated = keys.values().filter(|counted| counted.completed > 1).count();
        json!({ "keys": keys, "repeated": repeated }).to_string().into()
    }

    /// The body of `GET /sim/requests`.
    pub(crate) fn requests_json(&self) -> Bytes {
        let requests: Vec<Value> = self.requests().iter().map(RecordedRequest::to_json).collect();
        json!({ "requests": requests }).to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(recorded_requests_max: usize) -> Arc<Ledger> {
        Arc::new(Ledger::new(&SimConfig { recorded_requests_max, ..SimConfig::default() }))
    }

    #[test]
    fn each_way_to_end_has_its_counter() {
        let ledger = ledger(0);
        ledger.begin().completed();
        ledger.begin().failed();
        ledger.begin().faulted();
        drop(ledger.begin());
        let still_running = ledger.begin();
        let stats = ledger.stats();
        assert_eq!(
            stats,
            Stats {
                requests: 5,
                in_flight: 1,
                completed: 2,
                cancelled: 1,
                faulted: 1,
                errors: 1,
                connections: 0
            }
        );
        ledger.reset();
        assert_eq!(ledger.stats().in_flight, 1);
        drop(still_running);
        assert_eq!(ledger.stats().in_flight, 0);
    }

    #[test]
    fn only_the_last_requests_are_kept() {
        let ledger = ledger(2);
        let (head, ()) =
            hyper::Request::post("/v1/responses").header("x-a", "1").body(()).unwrap().into_parts();
        for (sequence, body) in [(1, "{}"), (2, "not json"), (3, r#"{"a":1}"#)] {
            ledger.record(sequence, &head, &Bytes::from(body));
        }
        let json: Value = serde_json::from_slice(&Handle { ledger }.requests_json()).unwrap();
        assert_eq!(
            json["requests"],
            json!([
                {"sequence": 2, "path": "/v1/responses", "headers": {"x-a": "1"}, "body": "not json", "outcome": null},
                {"sequence": 3, "path": "/v1/responses", "headers": {"x-a": "1"}, "body": {"a": 1}, "outcome": null},
            ])
        );
    }

    #[test]
    fn a_request_that_is_remembered_says_how_it_ended() {
        let ledger = ledger(2);
        let (head, ()) = hyper::Request::post("/v1/responses").body(()).unwrap().into_parts();
        let begun: Vec<InFlight> = (0..3).map(|_| ledger.begin()).collect();
        for in_flight in &begun {
            ledger.record(in_flight.sequence, &head, &Bytes::new());
        }
        for in_flight in begun.into_iter().take(2) {
            in_flight.completed();
        }
        let ends: Vec<_> =
            Handle { ledger }.requests().into_iter().map(|one| (one.sequence, one.outcome)).collect();
        assert_eq!(ends, [(2, Some(Outcome::Completed)), (3, Some(Outcome::Cancelled))]);
    }

    #[test]
    fn requests_are_counted_by_their_idempotency_keys() {
        let ledger = ledger(0);
        let begin = |key: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY_FIELD, key.parse().unwrap());
            ledger.begin().under_key(&headers)
        };
        begin("a").completed();
        begin("a").completed();
        begin("b").failed();
        drop(begin("b"));
        ledger.begin().under_key(&HeaderMap::new()).completed();
        let handle = Handle { ledger };
        let json: Value = serde_json::from_slice(&handle.keys_json()).unwrap();
        let expected = json!({"a": {"requests": 2, "completed": 2}, "b": {"requests": 2, "completed": 0}});
        assert_eq!(json, json!({"keys": expected, "repeated": 1}));
        handle.reset();
        assert!(handle.keys().is_empty());
    }

    #[test]
    fn the_first_requests_of_a_key_are_counted_apart() {
        let ledger = ledger(0);
        let drawn: Vec<_> = ["a", "b", "a", "a"].iter().map(|key| ledger.is_among_first(key, 2)).collect();
        assert_eq!(drawn, [true, true, true, false]);
    }
}
