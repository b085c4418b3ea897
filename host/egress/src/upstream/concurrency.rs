//! How many calls go to an upstream at once, and who waits for a place, in order. `estimate` says how the bound is learnt.

mod estimate;

use self::estimate::Estimate;
use super::policy::ConcurrencyPolicy;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The places at one upstream.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    waiting_max: usize,
    wait: Duration,
    /// Calls that wait now.
    waiting: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_flight: u64,
    estimate: Estimate,
    /// Those who wait, first come first; some of them may have gone.
    queue: VecDeque<oneshot::Sender<Place>>,
}

/// No place was free in time, or too many wait for one already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// What came of asking for a place.
enum Entered {
    Place(Place),
    Waiting(oneshot::Receiver<Place>),
    Full,
}

impl ConcurrencyLimit {
    pub(crate) fn new(policy: &ConcurrencyPolicy, now: Instant) -> Arc<Self> {
        let state = State { in_flight: 0, estimate: Estimate::new(policy, now), queue: VecDeque::new() };
        Arc::new(Self {
            waiting_max: usize::try_from(policy.waiting_max).unwrap_or(usize::MAX),
            wait: Duration::from_millis(policy.wait_ms),
            waiting: AtomicU64::new(0),
            state: Mutex::new(state),
        })
    }

    /// A place, after a wait of at most the configured time, and not beyond `deadline`. Dropping the future leaves the queue.
    pub(crate) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Place, Busy> {
        let receiver = match self.ask() {
            Entered::Place(place) => return Ok(place),
            Entered::Waiting(receiver) => receiver,
            Entered::Full => return Err(Busy),
        };
        let _waiting = Waiting::new(&self.waiting);
        let until = deadline.min(Instant::now() + self.wait);
        match tokio::time::timeout_at(until, receiver).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Busy),
        }
    }

    /// A place, if one is free now.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        state.forget_gone();
        let is_free = state.queue.is_empty() && state.in_flight < state.estimate.limit();
        is_free.then(|| self.place(&mut state))
    }

    fn ask(self: &Arc<Self>) -> Entered {
        let mut state = self.lock();
        state.forget_gone();
        if state.queue.is_empty() && state.in_flight < state.estimate.limit() {
            return Entered::Place(self.place(&mut state));
        }
        if state.queue.len() >= self.waiting_max {
            state.queue.retain(|waiter| !waiter.is_closed());
            if state.queue.len() >= self.waiting_max {
                return Entered::Full;
            }
        }
        let (sender, receiver) = oneshot::channel();
        state.queue.push_back(sender);
        Entered::Waiting(receiver)
    }

    fn place(self: &Arc<Self>, state: &mut State) -> Place {
        state.in_flight += 1;
        state.estimate.see_in_flight(state.in_flight);
        Place { limit: Some(Arc::clone(self)) }
    }

    /// Says that the upstream answered a call. `first_byte` is how long that took, where it says something about its load.
    pub(crate) fn see_answer(self: &Arc<Self>, now: Instant, first_byte: Option<Duration>) {
        let mut state = self.lock();
        let in_flight = state.in_flight;
        state.estimate.see_answer(now, first_byte, in_flight);
        self.fill(state);
    }

    /// Says that the upstream had no room for a call: it said so, or did not answer in time.
    pub(crate) fn see_drop(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        let in_flight = state.in_flight;
        state.estimate.see_drop(now, in_flight);
        self.fill(state);
    }

    /// Gives places that the bound has grown by to those who wait.
    fn fill(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut given = Vec::new();
        while state.in_flight < state.estimate.limit()
            && let Some(waiter) = state.queue.pop_front()
        {
            if !waiter.is_closed() {
                given.push((waiter, self.place(&mut state)));
            }
        }
        drop(state);
        for (waiter, place) in given {
            // Who has gone in the meantime gives the place to the next, as any place that ends.
            drop(waiter.send(place));
        }
    }

    /// Gives a place that has ended to the first who waits.
    fn leave(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let waiter =
                if state.in_flight > state.estimate.limit() { None } else { state.queue.pop_front() };
            let Some(waiter) = waiter else {
                state.in_flight = state.in_flight.saturating_sub(1);
                return;
            };
            drop(state);
            match waiter.send(Place { limit: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // Gone; the place goes to the next. It must not end here as well.
                Err(mut place) => place.limit = None,
            }
        }
    }

    /// How many calls there may be at once.
    pub(crate) fn limit(&self) -> u64 {
        self.lock().estimate.limit()
    }

    /// How many calls have a place.
    pub(crate) fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// How many calls wait for a place.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes those at the head of the queue who no longer wait.
    fn forget_gone(&mut self) {
        while self.queue.front().is_some_and(oneshot::Sender::is_closed) {
            self.queue.pop_front();
        }
    }
}

/// Counts a call that waits.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A call's place at its upstream, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    limit: Option<Arc<ConcurrencyLimit>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(limit) = self.limit.take() {
            limit.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const WAIT: Duration = Duration::from_millis(500);

    fn limit(max: u64, waiting_max: u64) -> Arc<ConcurrencyLimit> {
        let policy = ConcurrencyPolicy { min: 1, max, waiting_max, wait_ms: 500 };
        ConcurrencyLimit::new(&policy, Instant::now())
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    fn assert_empty(limit: &Arc<ConcurrencyLimit>) {
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
        assert!(limit.try_enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_places_than_the_bound() {
        let limit = limit(2, 0);
        let (one, two) = (limit.enter(far()).await.unwrap(), limit.try_enter().unwrap());
        assert_eq!(limit.enter(far()).await.unwrap_err(), Busy);
        assert!(limit.try_enter().is_none());
        drop(one);
        let three = limit.enter(far()).await.unwrap();
        assert_eq!(limit.in_flight(), 2);
        drop((two, three));
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_a_place_in_order_and_before_who_comes_later() {
        let limit = limit(1, 10);
        let place = limit.enter(far()).await.unwrap();
        let (mut first, mut second) = (Box::pin(limit.enter(far())), Box::pin(limit.enter(far())));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!(limit.waiting(), 2);
        drop(place);
        assert!(limit.try_enter().is_none(), "the place is given away");
        assert!(second.as_mut().now_or_never().is_none());
        let place = first.now_or_never().unwrap().unwrap();
        drop(place);
        drop(second.now_or_never().unwrap().unwrap());
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_after_its_time_or_at_the_deadline() {
        let limit = limit(1, 10);
        let place = limit.enter(far()).await.unwrap();
        let start = Instant::now();
        assert_eq!(limit.enter(far()).await.unwrap_err(), Busy);
        assert_eq!(start.elapsed(), WAIT);
        assert_eq!(limit.enter(Instant::now() + WAIT / 2).await.unwrap_err(), Busy);
        assert_eq!(start.elapsed(), WAIT * 3 / 2);
        assert_eq!(limit.waiting(), 0);
        drop(place);
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_went_neither_fill_the_queue_nor_keep_a_place() {
        let limit = limit(1, 2);
        let place = limit.enter(far()).await.unwrap();
        for _ in 0..10 {
            let mut gone = [Box::pin(limit.enter(far())), Box::pin(limit.enter(far()))];
            for waiter in &mut gone {
                assert!(waiter.as_mut().now_or_never().is_none());
            }
            assert_eq!(limit.enter(far()).await.unwrap_err(), Busy, "the queue is full");
        }
        let mut last = Box::pin(limit.enter(far()));
        assert!(last.as_mut().now_or_never().is_none());
        drop(place);
        drop(last.now_or_never().unwrap().unwrap());
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_given_to_someone_who_goes_is_given_on() {
        let limit = limit(1, 10);
        let place = limit.enter(far()).await.unwrap();
        let (mut first, mut second) = (Box::pin(limit.enter(far())), Box::pin(limit.enter(far())));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(place);
        // It was given to the first, who goes without having looked.
        drop(first);
        drop(second.now_or_never().unwrap().unwrap());
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_bound_takes_places_as_they_end_and_a_higher_one_gives_them_to_those_who_wait() {
        let limit = limit(20, 100);
        let mut places: Vec<_> = (0..20).map(|_| limit.try_enter().unwrap()).collect();
        tokio::time::advance(Duration::from_millis(500)).await;
        (0..10).for_each(|_| limit.see_drop(Instant::now()));
        assert_eq!(limit.limit(), 18);
        places.truncate(18);
        assert!(limit.try_enter().is_none());
        let mut waiters: Vec<_> = (0..10).map(|_| Box::pin(limit.enter(far()))).collect();
        assert!(waiters.iter_mut().all(|waiter| waiter.as_mut().now_or_never().is_none()));
        // The window that the drops ended is followed by one of answers only.
        tokio::time::advance(Duration::from_millis(490)).await;
        (0..9).for_each(|_| limit.see_answer(Instant::now(), None));
        tokio::time::advance(Duration::from_millis(10)).await;
        (0..20).for_each(|_| limit.see_answer(Instant::now(), None));
        assert_eq!(limit.limit(), 20);
        let answers = waiters.iter_mut().filter_map(|waiter| waiter.as_mut().now_or_never());
        let given: Vec<_> = answers.filter_map(Result::ok).collect();
        assert_eq!(given.len(), 2);
        drop((places, waiters, given));
        assert_empty(&limit);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_when_waiters_go_at_any_point() {
        let limit = limit(3, 8);
        let tasks: Vec<_> = (0..1_000_u64)
            .map(|number| {
                let limit = Arc::clone(&limit);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(number % 97)).await;
                    let life = Duration::from_millis(number * 7 % 23);
                    let call = async {
                        let place = limit.enter(far()).await;
                        tokio::time::sleep(Duration::from_millis(number % 5)).await;
                        drop(place);
                    };
                    drop(tokio::time::timeout(life, call).await);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_empty(&limit);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_lost_between_threads_and_nobody_is_forgotten() {
        let policy = ConcurrencyPolicy { min: 1, max: 3, waiting_max: 1_000, wait_ms: 20_000 };
        let limit = ConcurrencyLimit::new(&policy, Instant::now());
        let tasks: Vec<_> = (0..500)
            .map(|number| {
                let limit = Arc::clone(&limit);
                tokio::spawn(async move {
                    for round in 0..20 {
                        let mut waiting = Box::pin(limit.enter(far()));
                        if (number + round) % 3 == 0 && waiting.as_mut().now_or_never().is_none() {
                            // This one goes, and may have been given a place in the meantime.
                            tokio::task::yield_now().await;
                            continue;
                        }
                        if (number + round) % 3 != 0 {
                            let place = waiting.await.expect("there is time enough for all");
                            assert!(limit.in_flight() <= 3);
                            tokio::task::yield_now().await;
                            drop(place);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_empty(&limit);
    }
}
