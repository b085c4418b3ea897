//! Tests of the meter as a whole: who waits, in which order, and what an edit changes. Time is tokio's paused clock.

use super::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

fn limits(requests_per_second: Option<u32>, concurrent_requests_max: Option<u32>) -> Limits {
    Limits { requests_per_second, concurrent_requests_max, ..Limits::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Lets every task run until it waits for something.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn refused(meter: &Arc<Meter>) -> Exceeded {
    meter.admit(soon()).await.err().unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_limits_all_are_admitted() {
    let meter = Meter::new(Limits::default());
    let mut admitted = Vec::new();
    for _ in 0..1_000 {
        admitted.push(meter.admit(soon()).await.unwrap());
    }
    assert_eq!(meter.requests_under_way(), 1_000);
    drop(admitted);
    assert_eq!((meter.requests_under_way(), meter.requests_waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn over_the_rate_a_request_waits_for_its_turn() {
    let meter = Meter::new(Limits { requests_burst: Some(1), ..limits(Some(20), None) });
    let began = Instant::now();
    for _ in 0..3 {
        drop(meter.admit(soon()).await.unwrap());
    }
    let waited = began.elapsed();
    assert!((Duration::from_millis(100)..Duration::from_millis(105)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_in_vain_is_refused_at_once() {
    async fn check(limits: Limits, patience_ms: u64, expected: Exceeded) {
        let meter = Meter::new(limits);
        let _first = meter.admit(soon()).await.unwrap();
        let began = Instant::now();
        let deadline = began + Duration::from_millis(patience_ms);
        assert_eq!(meter.admit(deadline).await.err().unwrap(), expected);
        assert_eq!(began.elapsed(), Duration::ZERO, "{limits:?}");
        assert_eq!((meter.requests_under_way(), meter.requests_waiting()), (1, 0));
    }
    let rate = |allowed, retry_ms| Exceeded {
        limit: "requests_per_second",
        allowed,
        retry_after: Duration::from_millis(retry_ms),
    };
    let full = Exceeded { limit: "concurrent_requests_max", allowed: 1, retry_after: Duration::from_secs(1) };
    let slow = limits(Some(2), None);
    check(Limits { requests_burst: Some(1), ..slow }, 60_000, rate(2, 500)).await;
    let within = Limits { requests_burst: Some(1), ..limits(Some(20), None) };
    check(Limits { wait_ms_max: Some(49), ..within }, 60_000, rate(20, 50)).await;
    check(Limits { wait_ms_max: Some(0), ..within }, 60_000, rate(20, 50)).await;
    check(Limits { waiting_requests_max: Some(0), ..within }, 60_000, rate(20, 50)).await;
    check(within, 49, rate(20, 50)).await;
    check(within, 0, rate(20, 50)).await;
    let single = limits(None, Some(1));
    check(Limits { wait_ms_max: Some(0), ..single }, 60_000, full).await;
    check(Limits { waiting_requests_max: Some(0), ..single }, 60_000, full).await;
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_does_not_come_free_in_time_is_refused_after_the_wait() {
    let meter = Meter::new(limits(None, Some(1)));
    let _first = meter.admit(soon()).await.unwrap();
    let began = Instant::now();
    let exceeded = refused(&meter).await;
    assert_eq!((exceeded.limit, exceeded.allowed), ("concurrent_requests_max", 1));
    let waited = began.elapsed();
    assert!((Duration::from_millis(100)..Duration::from_millis(105)).contains(&waited), "{waited:?}");
    assert_eq!(meter.requests_waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_served_in_the_order_they_came() {
    let meter = Meter::new(limits(None, Some(1)));
    let mut held = Some(meter.admit(soon()).await.unwrap());
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        let (meter, sender) = (Arc::clone(&meter), sender.clone());
        tokio::spawn(async move {
            let admitted = meter.admit(soon()).await.unwrap();
            sender.send((number, admitted)).unwrap();
        });
        settle().await;
    }
    for expected in 0..10 {
        assert!(served.try_recv().is_err(), "nobody is served while the seat is taken");
        drop(held.take());
        let (number, admitted) = served.recv().await.unwrap();
        assert_eq!(number, expected);
        held = Some(admitted);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_a_bound() {
    let meter = Meter::new(Limits { waiting_requests_max: Some(2), ..limits(None, Some(1)) });
    let _first = meter.admit(soon()).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let meter = Arc::clone(&meter);
            tokio::spawn(async move { meter.admit(soon()).await.is_ok() })
        })
        .collect();
    settle().await;
    assert_eq!(meter.requests_waiting(), 2);
    let began = Instant::now();
    assert_eq!(refused(&meter).await.limit, "concurrent_requests_max");
    assert_eq!(began.elapsed(), Duration::ZERO);
    for task in waiting {
        assert!(!task.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn the_place_in_the_queue_counts_for_the_rate() {
    // One every 40 ms: two can be served within the wait of 100 ms, a third cannot.
    let meter = Meter::new(Limits { requests_burst: Some(1), ..limits(Some(25), None) });
    drop(meter.admit(soon()).await.unwrap());
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let meter = Arc::clone(&meter);
            tokio::spawn(async move { meter.admit(soon()).await.is_ok() })
        })
        .collect();
    settle().await;
    let began = Instant::now();
    let exceeded = refused(&meter).await;
    assert_eq!((exceeded.limit, exceeded.retry_after), ("requests_per_second", Duration::from_millis(120)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    for task in waiting {
        assert!(task.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_gives_its_turn_to_the_next() {
    // Whichever of five waiters goes, at whichever moment, the seat reaches those that stay.
    for gone in 0..5 {
        for after_the_release in [false, true] {
            let meter = Meter::new(limits(None, Some(1)));
            let first = meter.admit(soon()).await.unwrap();
            let mut tasks = Vec::new();
            for _ in 0..5 {
                let meter = Arc::clone(&meter);
                tasks.push(tokio::spawn(async move { meter.admit(soon()).await.map(drop) }));
                settle().await;
            }
            let leaver = tasks.remove(gone);
            if after_the_release {
                // The wake-up has been sent, and whom it was sent to never runs again.
                drop(first);
                leaver.abort();
            } else {
                leaver.abort();
                settle().await;
                drop(first);
            }
            let began = Instant::now();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "{gone} {after_the_release}");
            settle().await;
            assert_eq!((meter.requests_under_way(), meter.requests_waiting()), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn raised_limits_let_those_that_wait_in_at_once() {
    async fn check(before: Limits, after: Limits) {
        let meter = Meter::new(before);
        let _first = meter.admit(soon()).await.unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let meter = Arc::clone(&meter);
                tokio::spawn(async move { meter.admit(soon()).await })
            })
            .collect();
        settle().await;
        assert_eq!(meter.requests_waiting(), 5);
        let began = Instant::now();
        meter.set_limits(after);
        let mut admitted = Vec::new();
        for task in waiting {
            admitted.push(task.await.unwrap().unwrap());
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "{after:?}");
        assert_eq!(meter.requests_under_way(), 6);
    }
    let single = limits(None, Some(1));
    check(single, limits(None, Some(6))).await;
    check(single, Limits::default()).await;
    let slow = Limits { wait_ms_max: Some(60_000), requests_burst: Some(1), ..limits(Some(1), None) };
    check(slow, Limits::default()).await;
    check(slow, Limits { requests_burst: Some(6), ..limits(Some(1_000), None) }).await;
}

#[tokio::test(start_paused = true)]
async fn lowered_limits_refuse_those_that_now_wait_in_vain() {
    let fast = Limits { requests_burst: Some(1), ..limits(Some(10), None) };
    let meter = Meter::new(fast);
    drop(meter.admit(soon()).await.unwrap());
    let waiting = tokio::spawn({
        let meter = Arc::clone(&meter);
        async move { meter.admit(soon()).await.err().unwrap() }
    });
    settle().await;
    assert_eq!(meter.requests_waiting(), 1);
    let began = Instant::now();
    meter.set_limits(Limits { requests_per_second: Some(1), ..fast });
    let exceeded = waiting.await.unwrap();
    assert_eq!((exceeded.limit, exceeded.allowed), ("requests_per_second", 1));
    assert_eq!(exceeded.retry_after, Duration::from_secs(1));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_edit_keeps_the_counts() {
    let meter = Meter::new(limits(Some(10), Some(3)));
    let held = [meter.admit(soon()).await.unwrap(), meter.admit(soon()).await.unwrap()];
    meter.set_limits(limits(Some(20), Some(2)));
    assert_eq!(meter.rate_state().unwrap().remaining, 18);
    assert_eq!(refused(&meter).await.limit, "concurrent_requests_max");
    drop(held);
    drop(meter.admit(soon()).await.unwrap());
    let tokens = Limits { tokens_per_minute: Some(6_000), ..Limits::default() };
    meter.set_limits(tokens);
    meter.spend_tokens(9_000);
    meter.set_limits(Limits { tokens_per_minute: Some(3_000), ..tokens });
    assert_eq!(refused(&meter).await.retry_after.as_secs(), 120, "a debt of 6,000 and one token");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_after_the_fact_and_a_debt_is_made_up_for() {
    let meter = Meter::new(Limits { tokens_per_minute: Some(6_000), ..Limits::default() });
    let full = meter.tokens_state().unwrap();
    assert_eq!((full.limit, full.remaining, full.window_s), (6_000, 6_000, 60));
    meter.spend_tokens(5_999);
    assert_eq!(meter.tokens_state().unwrap().remaining, 1);
    drop(meter.admit(soon()).await.unwrap());
    meter.spend_tokens(6_001);
    let exceeded = refused(&meter).await;
    assert_eq!((exceeded.limit, exceeded.allowed), ("tokens_per_minute", 6_000));
    assert_eq!(exceeded.retry_after_seconds(), 61, "a debt of 6,000 and one token, 10 ms each");
    tokio::time::advance(exceeded.retry_after).await;
    drop(meter.admit(soon()).await.unwrap());
    meter.spend_tokens(u64::MAX);
    assert_eq!(refused(&meter).await.retry_after_seconds(), 601, "no debt is greater than ten minutes'");
}

#[tokio::test(start_paused = true)]
async fn debts_of_tokens_go_before_the_other_limits() {
    let meter = Meter::new(Limits { tokens_per_minute: Some(1), ..limits(Some(1), Some(1)) });
    let _first = meter.admit(soon()).await.unwrap();
    meter.spend_tokens(2);
    assert_eq!(refused(&meter).await.limit, "tokens_per_minute");
}

#[tokio::test(start_paused = true)]
async fn what_is_admitted_over_time_is_the_burst_and_the_rate() {
    let meter = Meter::new(Limits { requests_burst: Some(5), ..limits(Some(50), None) });
    let admitted = Arc::new(AtomicU32::new(0));
    let until = Instant::now() + Duration::from_secs(10);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (meter, admitted) = (Arc::clone(&meter), Arc::clone(&admitted));
            tokio::spawn(async move {
                while Instant::now() < until {
                    match meter.admit(until).await {
                        Ok(_) => admitted.fetch_add(1, Ordering::Relaxed),
                        Err(exceeded) => {
                            tokio::time::sleep(exceeded.retry_after).await;
                            0
                        }
                    };
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let admitted = admitted.load(Ordering::Relaxed);
    assert!((495..=505).contains(&admitted), "{admitted}");
}

#[test]
fn threads_never_see_more_under_way_than_the_limit() {
    const MOST: u32 = 4;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let limits =
        Limits { waiting_requests_max: Some(1_000), wait_ms_max: Some(60_000), ..limits(None, Some(MOST)) };
    let meter = Meter::new(limits);
    let (now, peak) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64)
            .map(|number| {
                let (meter, now, peak) = (Arc::clone(&meter), Arc::clone(&now), Arc::clone(&peak));
                tokio::spawn(async move {
                    for round in 0..200 {
                        // Some give up while they wait; their turn must not be lost.
                        let patience = if (number + round) % 7 == 0 { 0 } else { 60_000 };
                        let admit = meter.admit(soon());
                        let Ok(Ok(_admitted)) =
                            tokio::time::timeout(Duration::from_millis(patience), admit).await
                        else {
                            continue;
                        };
                        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for task in tasks {
            tokio::time::timeout(Duration::from_secs(60), task).await.expect("no wake-up is lost").unwrap();
        }
    });
    assert!((1..=MOST).contains(&peak.load(Ordering::SeqCst)));
    assert_eq!((meter.requests_under_way(), meter.requests_waiting()), (0, 0));
}

#[test]
fn what_is_admitted_can_go_anywhere() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Admitted>();
    check::<Meter>();
    let names = [REQUESTS_PER_SECOND, CONCURRENT_REQUESTS, TOKENS_PER_MINUTE];
    let fields = serde_json::to_value(Limits::default()).unwrap();
    let fields: BTreeSet<_> = fields.as_object().unwrap().keys().cloned().collect();
    assert!(names.iter().all(|name| fields.contains(*name)), "a limit is called by its field");
}

#[tokio::test(start_paused = true)]
async fn the_tokens_of_the_last_minute_are_counted_where_they_are_limited() {
    let meter = Meter::new(Limits::default());
    meter.spend_tokens(7);
    assert_eq!(meter.tokens_last_minute(), None);
    meter.set_limits(Limits { tokens_per_minute: Some(10), ..Limits::default() });
    assert_eq!(meter.tokens_last_minute(), Some(0));
    meter.spend_tokens(9);
    tokio::time::advance(Duration::from_secs(30)).await;
    meter.spend_tokens(100);
    assert_eq!(meter.tokens_last_minute(), Some(109), "what comes back to the bucket was used all the same");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(meter.tokens_last_minute(), Some(100));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(meter.tokens_last_minute(), Some(0));
}
