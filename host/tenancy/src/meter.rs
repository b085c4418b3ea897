//! What a tenant is using up at this moment: requests under way, requests in a second, tokens in a minute.
//!
//! A request that finds room passes by three atomic numbers: no lock, no allocation, no timer. One that does not may
//! wait for a moment, in the order in which it came, if it can be served in that moment; else it is refused at once.
//!
//! Why the rates are our own and not the crate `governor`: tokens are known only after the call, so a bucket must be
//! able to go into debt; limits change while requests are counted by them, and a `RateLimiter`'s quota is fixed for its
//! life; and one atomic number for each rate suffices. The arithmetic is some thirty lines, in `meter/bucket.rs`, and is
//! tested there against a model.

mod address;
mod bucket;
mod exceeded;
mod fields;
mod seats;
mod window;

pub use address::{ADDRESSES_MAX, AddressMeter};
pub use exceeded::Exceeded;
pub use fields::{RATE_LIMIT, RATE_LIMIT_POLICY, RateLimitFields, rate_limit_fields};

use crate::limits::Limits;
use crate::tenant_id::TenantId;
use arc_swap::ArcSwap;
use bucket::{Bucket, MINUTE_NS, Rate, SECOND_NS, Verdict};
use http::HeaderValue;
use seats::Seats;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};
use waggle_measure::{TenantSeat, TopTenants};
use window::Minute;

/// Requests of one tenant that may wait at once, where `waiting_requests_max` is absent.
pub const WAITING_REQUESTS_MAX_DEFAULT: u32 = 64;
/// How long one of them waits, milliseconds, where `wait_ms_max` is absent.
pub const WAIT_MS_MAX_DEFAULT: u32 = 100;
/// How far tokens can be overdrawn, in minutes of their rate: what one huge answer, or many at once, can cost later.
pub const TOKENS_DEBT_MINUTES_MAX: u64 = 10;

/// When a seat will be free is not known; this is what a client is told.
const CONCURRENCY_RETRY_AFTER: Duration = Duration::from_secs(1);
const TOKENS_DEBT_NS_MAX: u64 = TOKENS_DEBT_MINUTES_MAX * MINUTE_NS;

const REQUESTS_PER_SECOND: &str = "requests_per_second";
const CONCURRENT_REQUESTS: &str = "concurrent_requests_max";
const TOKENS_PER_MINUTE: &str = "tokens_per_minute";
const REQUESTS_PER_MINUTE: &str = "requests_per_minute";

/// The count of one tenant. All that count for it share one.
pub struct Meter {
    /// What the limits come to. Read without a lock.
    plan: ArcSwap<Plan>,
    /// Held by whoever changes the limits; no request waits for it.
    editing: Mutex<()>,
    epoch: Instant,
    requests: Bucket,
    tokens: Bucket,
    tokens_of_minute: Minute,
    seats: Seats,
    /// Its one permit belongs to the first of those that wait; it is handed on in the order of arrival.
    turn: Semaphore,
    /// Wakes the first of those that wait: a seat is free, or the limits have changed. It keeps one wake-up for whoever
    /// is about to listen, and who becomes the first looks before it listens, so none is lost.
    changed: Notify,
    /// In which series of the metrics it is counted.
    measured: OnceLock<Arc<TenantSeat>>,
}

/// The limits, made ready for the request path.
struct Plan {
    limits: Limits,
    requests: Option<Rate>,
    tokens: Option<Rate>,
    concurrent_requests_max: u32,
    waiting_requests_max: u32,
    wait: Duration,
    /// The field `RateLimit-Policy`, which is the same until the limits change.
    policy: Option<HeaderValue>,
}

impl Plan {
    fn new(limits: Limits) -> Self {
        let requests = limits
            .requests_per_second
            .map(|rate| Rate::of_single_units(rate, SECOND_NS, limits.requests_burst.unwrap_or(rate)));
        let tokens = limits.tokens_per_minute.map(|tokens| Rate::of_many_units(tokens, MINUTE_NS));
        let full = |rate, limit, period_ns| RateState::at(rate, limit, period_ns, 0, 0);
        let requests_state =
            requests.zip(limits.requests_per_second).map(|(rate, limit)| full(rate, limit.into(), SECOND_NS));
        let tokens_state =
            tokens.zip(limits.tokens_per_minute).map(|(rate, limit)| full(rate, limit, MINUTE_NS));
        let wait_ms_max = limits.wait_ms_max.unwrap_or(WAIT_MS_MAX_DEFAULT);
        Self {
            limits,
            requests,
            tokens,
            concurrent_requests_max: limits.concurrent_requests_max.unwrap_or(u32::MAX),
            waiting_requests_max: limits.waiting_requests_max.unwrap_or(WAITING_REQUESTS_MAX_DEFAULT),
            wait: Duration::from_millis(wait_ms_max.into()),
            policy: fields::policy(requests_state, tokens_state),
        }
    }
}

/// A request that is under way: it counts until this is dropped.
#[must_use = "the request counts as over when this is dropped"]
pub struct Admitted {
    meter: Arc<Meter>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.meter.seats.give_back() {
            self.meter.changed.notify_one();
        }
    }
}

/// How much of a rate is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// Units in a second for requests, in a minute for tokens.
    pub limit: u64,
    /// Units that may be used at once.
    pub burst: u64,
    /// Units that are there now.
    pub remaining: u64,
    /// In how many seconds `remaining` may be used without going over the limit in the long run; where nothing remains,
    /// when there will be something. Rounded up, at least 1.
    pub reset_s: u64,
    /// The seconds in which [`Self::quota`] units come back, rounded up.
    pub window_s: u64,
}

impl RateState {
    /// The state at `now` of a bucket that is full at `full_at`.
    fn at(rate: Rate, limit: u64, period_ns: u64, full_at: u64, now: u64) -> Self {
        let remaining = rate.remaining(full_at, now);
        let next_ns = match rate.take(full_at, now, rate.cost_ns(1)).1 {
            Verdict::Admitted => 0,
            Verdict::At(at) => at - now,
        };
        let seconds = |ns: u64| ns.div_ceil(SECOND_NS).max(1);
        // The time of a unit is rounded up to nanoseconds, and a few of those make no second.
        let window_ns = |units| rate.cost_ns(units).saturating_sub(units);
        Self {
            limit,
            burst: rate.burst,
            remaining,
            reset_s: seconds(window_ns(remaining).max(next_ns)),
            window_s: seconds(window_ns(rate.burst)).max(period_ns / SECOND_NS),
        }
    }

    /// The units of a window: `limit` or `burst`, whichever is more, so that no more than this can ever remain.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.limit.max(self.burst)
    }
}

impl Meter {
    /// A meter that has counted nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            plan: ArcSwap::from_pointee(Plan::new(limits)),
            editing: Mutex::new(()),
            epoch: Instant::now(),
            requests: Bucket::default(),
            tokens: Bucket::default(),
            tokens_of_minute: Minute::default(),
            seats: Seats::default(),
            turn: Semaphore::new(1),
            changed: Notify::new(),
            measured: OnceLock::new(),
        })
    }

    /// Where the metrics count `tenant`, whose meter this is.
    pub fn seat(&self, tenants: &Arc<TopTenants>, tenant: &TenantId) -> &Arc<TenantSeat> {
        self.measured.get_or_init(|| tenants.seat(tenant.as_str()))
    }

    /// Changes the limits and keeps the counts: what is used up stays used up, and requests that wait are served by the
    /// new limits as soon as these let them.
    pub fn set_limits(&self, limits: Limits) {
        let _editing = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.plan.load_full();
        if old.limits == limits {
            return;
        }
        let new = Arc::new(Plan::new(limits));
        self.plan.store(Arc::clone(&new));
        // A request that is admitted between these lines counts by one rate in the scale of the other; that is an error
        // of one request, once per change.
        let now = self.now_ns();
        if let Some(rate) = new.requests.filter(|_| old.requests != new.requests) {
            self.requests.rescale(old.requests, rate, now, 0);
        }
        if let Some(rate) = new.tokens.filter(|_| old.tokens != new.tokens) {
            self.tokens.rescale(old.tokens, rate, now, TOKENS_DEBT_NS_MAX);
        }
        self.changed.notify_one();
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.plan.load().limits
    }

    /// Requests under way.
    #[must_use]
    pub fn requests_under_way(&self) -> u32 {
        self.seats.under_way()
    }

    /// Requests that wait to be admitted.
    #[must_use]
    pub fn requests_waiting(&self) -> u32 {
        self.seats.waiting()
    }

    /// Admits a request, now or within `wait_ms_max` and before `deadline`; takes a `std::time::Instant` as well.
    ///
    /// Looks at `tokens_per_minute`, `concurrent_requests_max` and `requests_per_second`, in this order. Who comes first
    /// is served first. Dropping the future gives the turn to the next.
    ///
    /// # Errors
    /// The limit that the request is over, without a wait where it is known that waiting is in vain.
    pub async fn admit(self: &Arc<Self>, deadline: impl Into<Instant> + Send) -> Result<Admitted, Exceeded> {
        if let Some(admitted) = self.admit_now()? {
            return Ok(admitted);
        }
        self.wait(deadline.into()).await
    }

    /// Counts tokens that a call has used, after the fact. They may be more than were left; then requests are refused
    /// until the debt, [`TOKENS_DEBT_MINUTES_MAX`] at most, is made up for.
    pub fn spend_tokens(&self, tokens: u64) {
        let plan = self.plan.load();
        if let Some(rate) = plan.tokens {
            let now = self.now_ns();
            self.tokens.charge(rate, now, rate.cost_ns(tokens), TOKENS_DEBT_NS_MAX);
            self.tokens_of_minute.add(now, tokens);
        }
    }

    /// The tokens of the last minute, counted in steps of five seconds: of 55 seconds at least and 60 at most. None
    /// without `tokens_per_minute`; then nobody counts them.
    #[must_use]
    pub fn tokens_last_minute(&self) -> Option<u64> {
        self.plan.load().tokens.map(|_limited| self.tokens_of_minute.sum(self.now_ns()))
    }

    /// What is left of `requests_per_second`; none without that limit.
    #[must_use]
    pub fn rate_state(&self) -> Option<RateState> {
        let plan = self.plan.load();
        let limit = plan.limits.requests_per_second?.into();
        Some(RateState::at(plan.requests?, limit, SECOND_NS, self.requests.full_at(), self.now_ns()))
    }

    /// What is left of `tokens_per_minute`; none without that limit.
    #[must_use]
    pub fn tokens_state(&self) -> Option<RateState> {
        let plan = self.plan.load();
        let limit = plan.limits.tokens_per_minute?;
        Some(RateState::at(plan.tokens?, limit, MINUTE_NS, self.tokens.full_at(), self.now_ns()))
    }

    /// Nanoseconds since the meter was made.
    fn now_ns(&self) -> u64 {
        self.ns_of(Instant::now())
    }

    fn ns_of(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Admits a request that need not wait; none if it would have to.
    fn admit_now(self: &Arc<Self>) -> Result<Option<Admitted>, Exceeded> {
        let plan = self.plan.load();
        if plan.tokens.is_none() && plan.requests.is_none() {
            return Ok(self.seats.take(plan.concurrent_requests_max).then(|| self.admitted()));
        }
        let now = self.now_ns();
        self.check_tokens(&plan, now)?;
        if !self.seats.take(plan.concurrent_requests_max) {
            return Ok(None);
        }
        let admitted = self.admitted();
        match plan.requests.map_or(Verdict::Admitted, |rate| self.requests.take_one(rate, now)) {
            Verdict::Admitted => Ok(Some(admitted)),
            Verdict::At(_) => Ok(None),
        }
    }

    /// A seat that has been taken.
    fn admitted(self: &Arc<Self>) -> Admitted {
        Admitted { meter: Arc::clone(self) }
    }

    fn check_tokens(&self, plan: &Plan, now: u64) -> Result<(), Exceeded> {
        let Some(rate) = plan.tokens else { return Ok(()) };
        match self.tokens.look(rate, now, 0) {
            Verdict::Admitted => Ok(()),
            Verdict::At(at) => Err(Exceeded {
                limit: TOKENS_PER_MINUTE,
                allowed: rate.burst,
                retry_after: Duration::from_nanos(at - now),
            }),
        }
    }

    /// Waits for room, as far as that makes sense.
    async fn wait(self: &Arc<Self>, deadline: Instant) -> Result<Admitted, Exceeded> {
        let (until, place) = {
            let plan = self.plan.load();
            let now = Instant::now();
            let until = deadline.min(now + plan.wait);
            let ahead = self.seats.waiting().into();
            if until <= now {
                return Err(self.exceeded(&plan, ahead));
            }
            let Some(place) = Place::take(self, plan.waiting_requests_max) else {
                return Err(self.exceeded(&plan, ahead));
            };
            self.check_rate(&plan, until, place.ahead.into())?;
            (until, place)
        };
        match timeout_at(until, self.take_turn(until)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(self.exceeded(&self.plan.load(), place.ahead.into())),
        }
    }

    /// Waits until all that came before are served or gone, then for a seat, then for the rate.
    async fn take_turn(self: &Arc<Self>, until: Instant) -> Result<Admitted, Exceeded> {
        // The semaphore is never closed; if it were, whoever waits would be served in any order.
        let _turn = self.turn.acquire().await;
        let admitted = loop {
            let most = self.plan.load().concurrent_requests_max;
            if self.seats.take_first(most) {
                break self.admitted();
            }
            self.changed.notified().await;
        };
        loop {
            let at = {
                let plan = self.plan.load();
                let Some(rate) = plan.requests else { return Ok(admitted) };
                match self.requests.take_one(rate, self.now_ns()) {
                    Verdict::Admitted => return Ok(admitted),
                    Verdict::At(at) => at,
                }
            };
            self.check_rate(&self.plan.load(), until, 0)?;
            // Either the time has come, or the limits have changed and with them perhaps the time.
            let _ = timeout_at(self.epoch + Duration::from_nanos(at), self.changed.notified()).await;
        }
    }

    /// Refuses a request whose turn by the rate comes only after `until`, with `ahead` others before it.
    fn check_rate(&self, plan: &Plan, until: Instant, ahead: u64) -> Result<(), Exceeded> {
        let Some(rate) = plan.requests else { return Ok(()) };
        match self.requests.look(rate, self.now_ns(), ahead) {
            Verdict::At(at) if at > self.ns_of(until) => Err(self.over_rate(plan, rate, ahead)),
            _ => Ok(()),
        }
    }

    /// The limit that keeps a request from being served, with `ahead` others before it.
    fn exceeded(&self, plan: &Plan, ahead: u64) -> Exceeded {
        match plan.requests {
            Some(rate) if self.seats.under_way() < plan.concurrent_requests_max => {
                self.over_rate(plan, rate, ahead)
            }
            _ => Exceeded {
                limit: CONCURRENT_REQUESTS,
                allowed: plan.concurrent_requests_max.into(),
                retry_after: CONCURRENCY_RETRY_AFTER,
            },
        }
    }

    fn over_rate(&self, plan: &Plan, rate: Rate, ahead: u64) -> Exceeded {
        let now = self.now_ns();
        let retry_after = match self.requests.look(rate, now, ahead) {
            Verdict::Admitted => Duration::ZERO,
            Verdict::At(at) => Duration::from_nanos(at - now),
        };
        let allowed = plan.limits.requests_per_second.unwrap_or(u32::MAX).into();
        Exceeded { limit: REQUESTS_PER_SECOND, allowed, retry_after }
    }
}

/// A place among those that wait; free again when dropped, whether it was served, refused or cancelled.
struct Place<'a> {
    meter: &'a Meter,
    /// How many waited when it came.
    ahead: u32,
}

impl<'a> Place<'a> {
    fn take(meter: &'a Meter, most: u32) -> Option<Self> {
        meter.seats.join_queue(most).map(|ahead| Self { meter, ahead })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.meter.seats.leave_queue();
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter")
            .field("limits", &self.limits())
            .field("under_way", &self.seats.under_way())
            .field("waiting", &self.seats.waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
