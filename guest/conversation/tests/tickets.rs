//! Turns of one conversation, at random times in random order, some of them cut off, some silent for too long: whatever
//! happens, each that joins has seen exactly what stands before it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use waggle_conversation::conversation::{NewItems, add, create, open, record};
use waggle_conversation::memory::MemoryStore;
use waggle_conversation::ticket::{Arrival, BEAT_MS, Clock, EnterError, Ticket, enter};
use waggle_conversation::turn::{CommitError, FinishedTurn};
use waggle_conversation::window::WindowLimits;
use waggle_conversation::{Store, StoreError, Viewer, items};
use waggle_openai::Nonce;
use waggle_openai::item::{Item, Part, RawItem, Role, to_raw_items};
use waggle_openai::list::{Order, PageQuery};
use waggle_openai::metadata::Metadata;

/// No turn of a test may take longer than this, in milliseconds of its clock.
const TEST_MS_MAX: u64 = 400_000;
const STEP_MS: u64 = 50;

/// A store whose every operation lets others go first.
#[derive(Clone, Default)]
struct Yielding(MemoryStore);

async fn pause() {
    let mut yielded = false;
    poll_fn(|_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl Store for Yielding {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        pause().await;
        self.0.get(key).await
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        pause().await;
        self.0.get_many(keys).await
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        pause().await;
        self.0.set_many(pairs).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        pause().await;
        self.0.delete_many(keys).await
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        pause().await;
        self.0.increment(key).await
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        pause().await;
        self.0.swap(key, expected, value).await
    }
}

/// A clock that the test moves.
#[derive(Clone, Default)]
struct TestClock(Rc<Cell<u64>>);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.get()
    }

    async fn sleep(&self, ms: u64) {
        let until = self.0.get() + ms;
        poll_fn(|_| if self.0.get() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

#[derive(Debug, Clone)]
struct Plan {
    /// When it arrives, in milliseconds of the test.
    at_ms: u64,
    does: Does,
    /// After how many polls its host dies, if it does.
    dies: Option<usize>,
}

#[derive(Debug, Clone)]
enum Does {
    Turn { wait_ms_max: u64, work_ms: u64, silent_ms: u64, joins: bool },
    Add,
}

fn plan() -> impl Strategy<Value = Plan> {
    let turn = (
        prop_oneof![Just(0), Just(300), Just(10_000), Just(60_000)],
        prop_oneof![4 => 0u64..200, 1 => 0u64..30_000],
        prop_oneof![6 => Just(0u64), 1 => 0u64..30_000],
        prop::bool::weighted(0.8),
    )
        .prop_map(|(wait_ms_max, work_ms, silent_ms, joins)| Does::Turn {
            wait_ms_max,
            work_ms,
            silent_ms,
            joins,
        });
    let does = prop_oneof![6 => turn, 1 => Just(Does::Add)];
    let dies = prop_oneof![5 => Just(None), 1 => (0usize..40).prop_map(Some)];
    (prop_oneof![3 => 0u64..300, 1 => 0u64..40_000], does, dies).prop_map(|(at_ms, does, dies)| Plan {
        at_ms,
        does,
        dies,
    })
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Joined { turn: u64, seen: Vec<String> },
    Left,
    Refused,
    Lost,
    Added,
}

#[derive(Clone, Default)]
struct World {
    store: Yielding,
    clock: TestClock,
    /// Which number each drew.
    numbers: Rc<RefCell<BTreeMap<usize, u64>>>,
}

fn conversation() -> Nonce {
    Nonce::mint(0, 0)
}

fn viewer() -> Viewer {
    Viewer::from_field(&["ada"]).unwrap()
}

fn message(nonce: Nonce, text: &str) -> Vec<RawItem> {
    let item = Item::Message { role: Role::User, parts: vec![Part::text(text.to_owned())], phase: None };
    to_raw_items(&[item], nonce, 0).unwrap()
}

fn said(item: &str) -> String {
    let item: Value = serde_json::from_str(item).unwrap();
    item["content"][0]["text"].as_str().unwrap().to_owned()
}

impl World {
    async fn turn(self, name: usize, does: Does) -> End {
        let nonce = Nonce::mint(1, name as u128 + 1);
        let items = message(nonce, &name.to_string());
        let Does::Turn { wait_ms_max, work_ms, silent_ms, joins } = does else {
            let opened = open(&self.store, &viewer(), conversation()).await.unwrap().unwrap();
            add(&self.store, &opened, NewItems { nonce, items: &items, tokens: 1 }).await.unwrap();
            return End::Added;
        };
        let limits = WindowLimits { items_max: 10_000, tokens_max: 1_000_000 };
        let arrival = Arrival { conversation: conversation(), nonce, limits, wait_ms_max };
        let history = match enter(&self.store, &self.clock, &viewer(), arrival).await {
            Ok(history) => history.unwrap(),
            Err(EnterError::Locked) => return End::Refused,
            Err(error) => panic!("{error}"),
        };
        let seen = history.window.items().map(said).collect();
        let ticket = history.continuation.ticket().unwrap();
        self.numbers.borrow_mut().insert(name, ticket.number());
        self.work(ticket, work_ms).await;
        self.clock.sleep(silent_ms).await;
        let finished = FinishedTurn {
            nonce,
            input: &items,
            output: &[],
            tokens: 1,
            continuation: &history.continuation,
            joins,
            response: None,
            listed: false,
            now_ms: self.clock.now_ms(),
            renewal_s: 60,
            handover: None,
            stream: None,
            also: Vec::new(),
        };
        match finished.commit(&self.store).await {
            Ok(Some(turn)) => End::Joined { turn, seen },
            Ok(None) => End::Left,
            Err(CommitError::Lost) => End::Lost,
            Err(error) => panic!("{error}"),
        }
    }

    async fn work(&self, ticket: &Ticket, mut left_ms: u64) {
        while left_ms > 0 {
            let ms = left_ms.min(BEAT_MS);
            self.clock.sleep(ms).await;
            left_ms -= ms;
            ticket.beat(&self.store, self.clock.now_ms()).await.unwrap();
        }
    }

    /// Runs all plans to their end; `None` for those that died.
    fn run(&self, plans: &[Plan], schedule: &[u8]) -> Vec<Option<End>> {
        struct Running {
            future: Option<Pin<Box<dyn Future<Output = End>>>>,
            polls: usize,
            end: Option<End>,
        }
        let begin = |(name, plan): (usize, &Plan)| {
            let (world, plan) = (self.clone(), plan.clone());
            Running { future: Some(Box::pin(world.turn(name, plan.does))), polls: 0, end: None }
        };
        let mut running: Vec<Running> = plans.iter().enumerate().map(begin).collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = |running: &mut Running, plan: &Plan, now_ms: u64| {
            let Some(future) = &mut running.future else { return };
            if now_ms < plan.at_ms {
                return;
            }
            running.polls += 1;
            if plan.dies.is_some_and(|polls| running.polls > polls) {
                running.future = None;
            } else if let Poll::Ready(end) = future.as_mut().poll(&mut context) {
                (running.future, running.end) = (None, Some(end));
            }
        };
        let mut schedule = schedule.iter().cycle();
        while running.iter().any(|running| running.future.is_some()) {
            let now_ms = self.clock.0.get();
            assert!(now_ms < TEST_MS_MAX, "it never ends");
            // Between two moments of the clock some make more steps than others, and each makes some.
            for _ in 0..plans.len() * 4 {
                let at = usize::from(*schedule.next().unwrap()) % plans.len();
                poll(&mut running[at], &plans[at], now_ms);
            }
            for (running, plan) in running.iter_mut().zip(plans) {
                poll(running, plan, now_ms);
            }
            self.clock.0.set(now_ms + STEP_MS);
        }
        running.into_iter().map(|running| running.end).collect()
    }

    /// All items, oldest first.
    fn items(&self) -> Vec<String> {
        let store = &self.store.0;
        block_on(async {
            let opened = open(store, &viewer(), conversation()).await.unwrap().unwrap();
            let query = PageQuery { limit: 10_000, order: Order::Ascending, after: None };
            let page = items::page(store, &opened, query).await.unwrap();
            page.items.iter().map(|item| said(item.get())).collect()
        })
    }

    /// The entries, by number.
    fn entries(&self) -> BTreeMap<u64, Value> {
        let prefix = format!("conversation/{}/entry/", conversation());
        let entries = self.store.0.dump().into_iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(&prefix)?.parse().unwrap(), serde_json::from_slice(&value).unwrap()))
        });
        entries.collect()
    }
}

fn world() -> World {
    let world = World::default();
    let record = record(1, 1_700_000_000, &Metadata::default()).unwrap();
    let none = NewItems { nonce: Nonce::mint(0, 1), items: &[], tokens: 0 };
    block_on(create(&world.store.0, &viewer(), conversation(), &record, none)).unwrap();
    world
}

fn check(plans: &[Plan], schedule: &[u8]) {
    let world = world();
    let ends = world.run(plans, schedule);
    let list = world.items();
    let place = |name: usize| list.iter().position(|said| *said == name.to_string());
    for (name, end) in ends.iter().enumerate() {
        let count = list.iter().filter(|said| **said == name.to_string()).count();
        match end {
            Some(End::Joined { .. } | End::Added) => assert_eq!(count, 1, "{name} in {list:?}"),
            None => assert!(count <= 1, "{name} in {list:?}"),
            Some(End::Left | End::Refused | End::Lost) => assert_eq!(count, 0, "{name} in {list:?}"),
        }
        if let Some(End::Joined { seen, .. }) = end {
            assert_eq!(seen[..], list[..place(name).unwrap()], "what {name} saw");
        }
    }
    let numbers = world.numbers.borrow().clone();
    let mut joined: Vec<(u64, usize)> =
        numbers.iter().filter_map(|(name, number)| Some((*number, place(*name)?))).collect();
    joined.sort_unstable();
    assert!(joined.is_sorted_by_key(|(_, place)| *place), "not in order of arrival: {joined:?} {list:?}");
    let entries = world.entries();
    let is_turn = |entry: &&Value| {
        let name =
            entry["items"][0]["content"][0]["text"].as_str().and_then(|name| name.parse::<usize>().ok());
        name.is_some_and(|name| matches!(plans[name].does, Does::Turn { .. }))
    };
    let turns: Vec<u64> =
        entries.values().filter(is_turn).map(|entry| entry["turn"].as_u64().unwrap()).collect();
    assert_eq!(turns, (1..=turns.len() as u64).collect::<Vec<_>>(), "{entries:#?}");
    if plans.iter().all(|plan| plan.dies.is_none()) {
        let newest = entries.last_key_value().map_or(0, |(number, _)| *number);
        assert_eq!(entries.len() as u64, newest, "a number is open: {entries:#?}");
        assert!(entries.values().all(|entry| entry.get("pending_until_ms").is_none()), "{entries:#?}");
    }
    let next = Plan {
        at_ms: world.clock.0.get(),
        does: Does::Turn { wait_ms_max: 30_000, work_ms: 0, silent_ms: 0, joins: true },
        dies: None,
    };
    let last = world.clone();
    let mut plans = plans.to_vec();
    plans.iter_mut().for_each(|plan| plan.dies = Some(0));
    plans.push(next);
    let end = last.run(&plans, schedule).pop().unwrap();
    assert_eq!(
        end,
        Some(End::Joined { turn: turns.len() as u64 + 1, seen: list }),
        "the conversation is stuck"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn turns_at_any_times_are_one_after_another_in_order_of_arrival(
        plans in prop::collection::vec(plan(), 1..12),
        schedule in prop::collection::vec(any::<u8>(), 16..64),
    ) {
        check(&plans, &schedule);
    }
}

fn turn(at_ms: u64, wait_ms_max: u64, work_ms: u64) -> Plan {
    Plan { at_ms, does: Does::Turn { wait_ms_max, work_ms, silent_ms: 0, joins: true }, dies: None }
}

fn ends(plans: &[Plan]) -> Vec<Option<&'static str>> {
    let name = |end: End| match end {
        End::Joined { .. } => "joined",
        End::Left => "left",
        End::Refused => "refused",
        End::Lost => "lost",
        End::Added => "added",
    };
    world().run(plans, &[0]).into_iter().map(|end| end.map(name)).collect()
}

#[test]
fn a_turn_waits_for_the_one_before_it_or_is_refused() {
    assert_eq!(ends(&[turn(0, 0, 3_000), turn(100, 10_000, 0)]), [Some("joined"), Some("joined")]);
    assert_eq!(ends(&[turn(0, 0, 3_000), turn(100, 0, 0)]), [Some("joined"), Some("refused")]);
    assert_eq!(ends(&[turn(0, 0, 30_000), turn(100, 10_000, 0)]), [Some("joined"), Some("refused")]);
    // One that gave up waiting does not let those behind it past the one it waited for.
    let queue = [turn(0, 0, 30_000), turn(100, 300, 0), turn(1_000, 60_000, 0), turn(2_000, 0, 0)];
    assert_eq!(ends(&queue), [Some("joined"), Some("refused"), Some("joined"), Some("refused")]);
}

#[test]
fn a_turn_that_lasts_keeps_its_place_and_one_that_is_silent_loses_it() {
    let lasting = [turn(0, 0, 50_000), turn(100, 60_000, 0)];
    assert_eq!(ends(&lasting), [Some("joined"), Some("joined")]);
    let mut silent = lasting;
    silent[0].does = Does::Turn { wait_ms_max: 0, work_ms: 0, silent_ms: 30_000, joins: true };
    assert_eq!(ends(&silent), [Some("lost"), Some("joined")]);
}

#[test]
fn a_turn_whose_host_died_holds_nobody_up_for_long() {
    for wait_ms_max in [0, 300] {
        let mut plans: Vec<Plan> = (0..40).map(|number| turn(number * 500, wait_ms_max, 0)).collect();
        plans[0] = Plan { dies: Some(12), ..turn(0, 10_000, 60_000) };
        let ends = ends(&plans);
        assert_eq!(ends[0], None);
        assert_eq!(ends[1], Some("refused"), "{ends:?}");
        assert_eq!(ends[39], Some("joined"), "{ends:?}");
    }
}

#[test]
fn what_was_refused_hundreds_of_times_keeps_its_memory() {
    let mut plans = vec![turn(0, 0, 0), turn(100, 0, 60_000)];
    plans.extend((0..300).map(|number| turn(1_000 + number * 100, 10, 0)));
    plans.push(turn(70_000, 0, 0));
    let world = world();
    let ends = world.run(&plans, &[0]);
    let refused = ends[2..302].iter().filter(|end| **end == Some(End::Refused)).count();
    assert_eq!(refused, 300, "{ends:?}");
    let seen = vec!["0".to_owned(), "1".to_owned()];
    assert_eq!(ends[302], Some(End::Joined { turn: 3, seen }));
}
