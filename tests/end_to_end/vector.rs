//! Indexes as functions use them: filled, searched, kept through crashes, apart by tenant, bounded, and counted.

use crate::crash::random;
use crate::neighbours::tenants::{key_of, with_tenants};
use crate::operations::{Collector, LISTEN, attribute, scrape, sum};
use crate::support::{Function, Server, Setup, eventually, failing_start};
use crate::tenants_support::{Caller, files_below, files_with, key_in, state_of, tenant};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROUNDS_DEFAULT: usize = 5;
/// How many groups are written at once in a storm.
const WRITERS: usize = 6;
/// The longest storm. A version takes some milliseconds, so every moment of one is hit sooner or later.
const STORM_MICROSECONDS_MAX: u64 = 300_000;

/// The guest that does what it is asked, and one that reads the same store.
fn setup() -> Setup {
    let store = "key_value_stores = [\"default\"]";
    Setup::functions(&[
        Function::guest("vector-probe").with(store),
        Function::guest("kv-probe").with(store),
        Function::hello(),
    ])
}

fn caller(server: &Server, tenant: &str) -> Caller {
    Caller::with(server, &key_of(tenant))
}

/// What the guest tells of `OPERATION?…`.
async fn told(caller: &Caller, what: &str) -> String {
    let answer = caller.get(&format!("/vector-probe/{what}")).await;
    assert!(matches!(answer.status, 200 | 409), "{what}: {answer:?}");
    answer.text
}

/// Does all of this, one after the other.
async fn all_done(caller: &Caller, calls: &[&str]) {
    for call in calls {
        assert_eq!(told(caller, call).await, "done", "{call}");
    }
}

/// Fills the index `docs` of two dimensions with two groups.
async fn fill(caller: &Caller) {
    all_done(
        caller,
        &[
            "create?index=docs&dimensions=2",
            "stage?index=docs&group=refunds&version=1&texts=refunds+take+five+days|退款需要五个工作日&vectors=1,0|0.8,0.6",
            "publish?index=docs&group=refunds&version=1&chunks=2&language=en&size=2",
            "stage?index=docs&group=parcels&version=4&texts=parcels+leave+on+monday&vectors=0,2",
            "publish?index=docs&group=parcels&version=4&chunks=1&language=de&size=1",
        ],
    )
    .await;
}

/// What is in the index that [`fill`] has made.
async fn check_filled(caller: &Caller) {
    let check = async |call: &str, expected: &str| {
        let told = told(caller, call).await;
        assert!(told.starts_with(expected), "{call}: {told:?} does not begin with {expected:?}");
    };
    check("describe?index=docs", "2 groups, 3 chunks, ").await;
    check("list-groups?index=docs", "parcels@4:1,refunds@1:2").await;
    check("list-groups?index=docs&after=parcels", "refunds@1:2").await;
    check("read?index=docs&group=refunds&start=1&count=5", "1=退款需要五个工作日/note 1").await;
    check("search?indexes=docs&text=refunds", "0/refunds@1#0 refunds take five days words\n").await;
    check("search?indexes=docs&text=退款", "0/refunds@1#1 ").await;
    check("search?indexes=docs&vector=0,1", "0/parcels@4#0 parcels leave on monday cosine 1.00\n").await;
    check("search?indexes=docs&vector=1,0.1&text=monday", "0/").await;
}

#[tokio::test]
async fn an_index_is_filled_searched_and_emptied() {
    let mut server = setup().start();
    let nobody = Caller::nobody(&server);
    assert_eq!(told(&nobody, "search?indexes=docs&text=refunds").await, "no-such-index");
    fill(&nobody).await;
    check_filled(&nobody).await;
    let found = async |call: &str| told(&nobody, call).await.lines().count();
    assert_eq!(found("search?indexes=docs&vector=1,0").await, 3);
    assert_eq!(found("search?indexes=docs&vector=1,0&limit=1").await, 1);
    assert_eq!(found("search?indexes=docs&vector=1,0&min=0.5").await, 2);
    assert_eq!(found("search?indexes=docs&vector=1,0&language=de").await, 1);
    assert_eq!(found("search?indexes=docs&vector=1,0&language=en&size=3").await, 0);
    all_done(&nobody, &["create?index=docs&dimensions=2", "create?index=words&dimensions=0"]).await;
    assert_eq!(told(&nobody, "list-indexes?").await, "docs,words");
    for (call, expected) in [
        ("create?index=docs&dimensions=3", "invalid: "),
        ("search?indexes=words&vector=1,0", "invalid: "),
        ("publish?index=docs&group=absent&version=1&chunks=1", "no-such-group"),
        ("read?index=docs&group=absent&start=0&count=1", "no-such-group"),
        ("set-attributes?index=docs&group=absent", "no-such-group"),
    ] {
        let told = told(&nobody, call).await;
        assert!(told.starts_with(expected), "{call}: {told}");
    }

    // A version is not found before it is published, and the one before not after.
    let search = "search?indexes=words|docs&text=parcels";
    let staged = "index=docs&group=parcels&version=5";
    all_done(&nobody, &[&format!("stage?{staged}&texts=parcels+leave+daily|parcels+arrive&vectors=0,1")])
        .await;
    assert_eq!(told(&nobody, &format!("staged?{staged}")).await, "2");
    assert_eq!(told(&nobody, search).await, "1/parcels@4#0 parcels leave on monday words\n");
    let few = told(&nobody, &format!("publish?{staged}&chunks=3")).await;
    assert!(few.starts_with("invalid: "), "{few}");
    all_done(
        &nobody,
        &[&format!("publish?{staged}&chunks=2"), "set-attributes?index=docs&group=parcels&language=fr"],
    )
    .await;
    let now = told(&nobody, search).await;
    assert!(now.contains("1/parcels@5#1 ") && !now.contains("@4"), "{now}");
    assert_eq!(found("search?indexes=docs&text=parcels&language=fr").await, 2);

    server.restart();
    let again = Caller::nobody(&server);
    assert_eq!(told(&again, search).await, now);
    all_done(&again, &["remove?index=docs&groups=parcels|absent"]).await;
    assert_eq!(told(&again, search).await, "");
    all_done(&again, &["drop-index?index=docs", "drop-index?index=docs"]).await;
    assert_eq!(told(&again, "describe?index=docs").await, "no-such-index");
    assert_eq!(told(&again, "list-indexes?").await, "words");
}

/// Versions of a group that its writer sent and saw acknowledged; 0 is none.
#[derive(Clone, Copy, Default)]
struct Written {
    sent: u64,
    acknowledged: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_found_whole_after_kill_9() {
    let rounds = std::env::var("WAGGLE_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    let mut server = setup().start();
    all_done(&Caller::nobody(&server), &["create?index=docs&dimensions=2"]).await;
    let mut written = [Written::default(); WRITERS];
    for round in 0..rounds {
        let writers: Vec<_> = written
            .iter()
            .enumerate()
            .map(|(writer, written)| tokio::spawn(write(Caller::nobody(&server), writer, *written)))
            .collect();
        // Not a wait for something: the moment of the crash is what is drawn here.
        tokio::time::sleep(Duration::from_micros(random(STORM_MICROSECONDS_MAX))).await;
        server.kill();
        for (written, writer) in written.iter_mut().zip(writers) {
            *written = writer.await.unwrap();
        }
        server.restart();
        let nobody = Caller::nobody(&server);
        let published = published(&nobody).await;
        for (writer, written) in written.iter().enumerate() {
            let version = published.get(&group(writer)).copied().unwrap_or_default();
            check_written(&nobody, writer, *written, version, round).await;
        }
    }
    let acknowledged: u64 = written.iter().map(|written| written.acknowledged).sum();
    println!("{rounds} crashes, {acknowledged} versions acknowledged");
    assert!(acknowledged > rounds as u64, "the storms were no storms");
}

fn group(writer: usize) -> String {
    format!("group-{writer}")
}

/// Publishes one version after the other until the server is gone.
async fn write(caller: Caller, writer: usize, mut written: Written) -> Written {
    loop {
        written.sent += 1;
        let what =
            format!("/vector-probe/ingest?index=docs&group={}&version={}", group(writer), written.sent);
        let Ok(response) = caller.request("GET", &what).send().await else { return written };
        let status = response.status();
        let Ok(text) = response.text().await else { return written };
        assert_eq!((status.as_u16(), &*text), (200, "done"), "{what}");
        written.acknowledged = written.sent;
    }
}

/// The published version of each group.
async fn published(caller: &Caller) -> BTreeMap<String, u64> {
    let groups = told(caller, "list-groups?index=docs").await;
    let groups = groups.split(',').filter_map(|one| one.split_once('@'));
    groups.map(|(name, rest)| (name.to_owned(), rest.split(':').next().unwrap().parse().unwrap())).collect()
}

/// That a group is as its writer left it: nothing acknowledged is missing, nothing is there by half, and what was written to
/// the store before it was published is there as well.
async fn check_written(caller: &Caller, writer: usize, written: Written, version: u64, round: usize) {
    let group = group(writer);
    let place = format!("round {round}, {group} at version {version}");
    assert!((written.acknowledged..=written.sent).contains(&version), "{place}: {}", written.acknowledged);
    let stored = async |record: &str| {
        let told = caller.get(&format!("/kv-probe/spin3/get?key={record}-{group}")).await.text;
        told.parse::<u64>().unwrap_or_default()
    };
    let (before, after) = (stored("before").await, stored("after").await);
    assert!(before >= version, "{place}: the record before it says {before}");
    assert!(after >= written.acknowledged && after <= version, "{place}: the record after it says {after}");
    if version == 0 {
        return;
    }
    let chunks = told(caller, &format!("read?index=docs&group={group}&start=0&count=5")).await;
    let expected = |part: u32| format!("{part}={group} version {version} part {part}/");
    assert_eq!(chunks, format!("{}|{}", expected(0), expected(1)), "{place}");
    let found = told(caller, &format!("search?indexes=docs&vector=1,0.5&limit=100&text={version}")).await;
    let own: Vec<&str> = found.lines().filter(|line| line.contains(&format!("/{group}@"))).collect();
    assert_eq!(own.len(), 2, "{place}: {found}");
    assert!(own.iter().all(|line| line.contains(&format!("@{version}#"))), "{place}: {found}");
}

#[tokio::test]
async fn tenants_with_the_same_names_never_see_each_others_chunks() {
    let tenants = ["bank-a", "shop-b"];
    let server = with_tenants(setup(), tenants.map(|tenant| (tenant, ""))).start();
    for tenant in tenants {
        all_done(
            &caller(&server, tenant),
            &[
                "create?index=docs&dimensions=2",
                &format!("stage?index=docs&group=same&version=1&texts=the+canary+of+{tenant}&vectors=1,1"),
                "publish?index=docs&group=same&version=1&chunks=1&language=en",
                &format!("create?index=only-{tenant}&dimensions=0"),
                &format!("stage?index=docs&group=staged-{tenant}&version=1&texts=the+secret+of+{tenant}"),
            ],
        )
        .await;
    }
    for (tenant, other) in [(tenants[0], tenants[1]), (tenants[1], tenants[0])] {
        let caller = caller(&server, tenant);
        for call in [
            "search?indexes=docs&text=canary",
            &format!("search?indexes=docs&text={other}+canary+secret"),
            "search?indexes=docs&vector=1,1",
            "search?indexes=docs&vector=1,1&text=canary&language=en",
            "read?index=docs&group=same&start=0&count=9",
            "list-indexes?",
            "list-groups?index=docs",
        ] {
            let told = told(&caller, call).await;
            assert!(!told.contains(other) && !told.is_empty(), "{tenant} got {told:?} for {call}");
        }
        for call in [format!("describe?index=only-{other}"), format!("search?indexes=only-{other}&text=x")] {
            assert_eq!(told(&caller, &call).await, "no-such-index", "{tenant}: {call}");
        }
        let staged = format!("staged?index=docs&group=staged-{other}&version=1");
        assert_eq!(told(&caller, &staged).await, "0", "{tenant}");
    }
    // What one drops, the other keeps.
    all_done(&caller(&server, tenants[0]), &["drop-index?index=docs"]).await;
    let kept = told(&caller(&server, tenants[1]), "search?indexes=docs&text=canary").await;
    assert!(kept.contains("the canary of shop-b"), "{kept}");
}

/// The folders that hold files of indexes.
fn index_folders(server: &Server) -> BTreeSet<PathBuf> {
    let files = files_below(&state_of(&server.setup).join("vector"));
    files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect()
}

#[tokio::test]
async fn a_tenant_that_is_erased_leaves_no_index() {
    let server = setup().start();
    let key = key_in(&tenant(&server, &["add", "shop-b"]));
    let shop = Caller::with(&server, &key);
    fill(&shop).await;
    let before = index_folders(&server);
    let bank = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank-a"])));
    fill(&bank).await;
    all_done(&bank, &["stage?index=docs&group=more&version=1&texts=erase-me-7c2f"]).await;
    let shown = tenant(&server, &["show", "bank-a"]);
    for part in ["vector_indexes: 1", "vector_chunks: 3", "vector_bytes: "] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let printed = tenant(&server, &["remove", "bank-a", "--erase", "--yes"]);
    assert!(printed.contains("store (indexes): 1 keys, ") && printed.contains("found 0"), "{printed}");
    assert_eq!(index_folders(&server), before, "files of the tenant are left, or others' are gone");
    assert!(files_with(&state_of(&server.setup), "erase-me-7c2f").is_empty());
    check_filled(&shop).await;
    let again = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank-a"])));
    assert_eq!(told(&again, "list-indexes?").await, "");
}

#[tokio::test]
async fn a_tenants_limit_refuses_what_is_over_it_and_removing_makes_room() {
    let tenants = [("small", "limits.vector_bytes_max = 200000"), ("free", "")];
    let server = with_tenants(setup(), tenants).start();
    let (small, free) = (caller(&server, "small"), caller(&server, "free"));
    let text = "word+".repeat(1_000);
    let stage = |group: usize| format!("stage?index=docs&group=g{group}&version=1&texts={text}");
    for caller in [&small, &free] {
        all_done(caller, &["create?index=docs&dimensions=0"]).await;
    }
    let mut taken = 0;
    let refused = loop {
        let told = told(&small, &stage(taken)).await;
        if told != "done" {
            break told;
        }
        taken += 1;
        assert!(taken < 100, "half a megabyte has room in 200,000 bytes");
    };
    assert!(refused.starts_with("full: ") && refused.contains("200"), "{refused}");
    assert!(taken > 5, "only {taken} of 5,000 bytes each had room");
    assert_eq!(told(&free, &stage(0)).await, "done");
    // What is there is still found, and can be published.
    all_done(&small, &["publish?index=docs&group=g0&version=1&chunks=1"]).await;
    assert_eq!(told(&small, "search?indexes=docs&text=word").await.lines().count(), 1);
    let groups: Vec<String> = (0..taken).map(|group| format!("g{group}")).collect();
    all_done(&small, &[&format!("remove?index=docs&groups={}", groups.join("|")), &stage(0)]).await;
}

#[tokio::test]
async fn a_damaged_index_is_named_and_others_go_on() {
    let mut server = setup().start();
    let nobody = Caller::nobody(&server);
    fill(&nobody).await;
    let mut calls = vec!["create?index=bad&dimensions=0".to_owned()];
    for group in 0..5 {
        calls.push(format!("stage?index=bad&group=g{group}&version=1&texts=find-me-{group}"));
        calls.push(format!("publish?index=bad&group=g{group}&version=1&chunks=1"));
    }
    all_done(&nobody, &calls.iter().map(String::as_str).collect::<Vec<_>>()).await;
    server.kill();
    let mut damaged = Vec::new();
    for path in files_with(&state_of(&server.setup).join("vector"), "find-me-0") {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(9).position(|window| window == b"find-me-0").unwrap();
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        damaged.push(path);
    }
    assert!(!damaged.is_empty(), "the chunk is in no file");
    server.restart();
    let nobody = Caller::nobody(&server);
    check_filled(&nobody).await;
    for call in ["search?indexes=bad&text=find", "search?indexes=docs|bad&text=find"] {
        let told = told(&nobody, call).await;
        assert!(told.starts_with("damaged: "), "{call}: {told}");
        assert!(!told.contains(state_of(&server.setup).to_str().unwrap()), "a guest reads a path: {told}");
    }
    let names_it = |line: &str| {
        line.contains("an index failed")
            && damaged.iter().any(|path| line.contains(path.file_name().unwrap().to_str().unwrap()))
    };
    eventually("the file in the log", || server.output().lines().any(names_it)).await;
    check_filled(&nobody).await;
    all_done(&nobody, &["drop-index?index=bad", "create?index=bad&dimensions=0"]).await;
}

#[tokio::test]
async fn what_is_done_with_indexes_is_in_the_metrics_and_the_host_is_ready() {
    let server = setup().runtime_config(LISTEN).start();
    let nobody = Caller::nobody(&server);
    fill(&nobody).await;
    assert!(told(&nobody, "search?indexes=docs&text=refunds").await.contains("refunds"));
    assert!(told(&nobody, "create?index=docs&dimensions=3").await.starts_with("invalid"));
    let samples = scrape(&server).await;
    let check = |name: &str, labels: &[&str], expected: f64| {
        assert_eq!(sum(&samples, name, labels), expected, "{name} {labels:?}: {samples:#?}");
    };
    let operations = "waggle_vector_operations_total";
    check(operations, &["operation=\"publish\"", "outcome=\"ok\""], 2.0);
    check(operations, &["operation=\"stage\"", "outcome=\"ok\""], 2.0);
    check(operations, &["operation=\"create\"", "outcome=\"refused\""], 1.0);
    check(operations, &["outcome=\"failed\""], 0.0);
    check(operations, &["outcome=\"damaged\""], 0.0);
    check("waggle_vector_operation_duration_seconds_count", &["operation=\"search\""], 1.0);
    check("waggle_vector_loaded_indexes", &[], 1.0);
    check("waggle_vector_loaded_chunks", &[], 3.0);
    assert!(sum(&samples, "waggle_vector_memory_bytes", &[]) > 0.0, "{samples:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_on_an_index_has_a_span_that_says_nothing_of_what_is_in_it() {
    let collector = Collector::start();
    let config = format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.url);
    let server = setup().runtime_config(&config).start();
    let nobody = Caller::nobody(&server);
    fill(&nobody).await;
    assert!(told(&nobody, "ingest?index=docs&group=canary&version=1").await.starts_with("done"));
    assert!(told(&nobody, "search?indexes=docs&text=refunds").await.contains("refunds"));
    assert_eq!(told(&nobody, "describe?index=canary+canary").await.split(':').next(), Some("invalid"));
    let has = |name: &str| collector.spans().iter().any(|span| span.name == name);
    eventually("the spans", || has("vector.search") && has("vector.describe")).await;
    let spans = collector.spans();
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let search = of("vector.search");
    for (name, expected) in [
        ("db.system.name", "waggle.vector"),
        ("db.operation.name", "search"),
        ("db.collection.name", "docs"),
        ("error.type", ""),
    ] {
        assert_eq!(attribute(search, name), expected, "{name}: {search:#?}");
    }
    let function = spans.iter().find(|span| span.span_id == search.parent_span_id).unwrap();
    assert_eq!(function.name, "function vector-probe");
    assert_eq!(attribute(of("vector.describe"), "error.type"), "invalid");
    assert!(!format!("{spans:?}").contains("canary"), "a span holds what is a guest's own: {spans:#?}");
}

#[tokio::test]
async fn a_host_whose_functions_use_no_index_opens_none() {
    let server = Setup::functions(&[Function::hello()]).start();
    assert_eq!(Caller::nobody(&server).status("/hello").await, 200);
    assert!(!state_of(&server.setup).join("vector").exists());
}

#[test]
fn mistakes_in_the_section_of_indexes_are_told() {
    for (lines, part) in [
        ("memory_bytes = 5", "did you mean `memory_bytes_max`?"),
        ("memory_bytes_max = 1", "memory_bytes_max"),
        ("prewarm = [\"no-tenant\"]", "prewarm"),
    ] {
        let setup = Setup::functions(&[Function::hello()]).runtime_config(&format!("[vector]\n{lines}\n"));
        let told = failing_start(&setup);
        assert!(told.contains(part) && told.contains("runtime-config.toml"), "{lines}: {told}");
    }
}
