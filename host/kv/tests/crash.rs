//! Kill -9 at any moment: nothing acknowledged is missing, and no batch is half there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use waggle_kv::{Embedded, EmbeddedOptions, KEYS_PAGE_MAX, Partition, Store, StoreOptions};

const DIRECTORY_VARIABLE: &str = "WAGGLE_KV_CRASH_DIRECTORY";
const WRITERS: usize = 4;
const KILLS_MIN: usize = 20;
/// More rounds are run while there is time, so that a quick machine tries more moments.
const TIME: Duration = Duration::from_secs(12);
const LONGEST_LIFE_MS: u64 = 500;
/// Some batches are so large that they reach the operating system in several writes.
const LARGE_VALUE_BYTES: usize = 9_000;
/// Now and then a writer rests, so that a kill also meets a store whose last write was acknowledged a while ago.
const REST: Duration = Duration::from_millis(30);

fn partition(writer: usize) -> Partition {
    Partition::new(&format!("tenant-{writer}"), "default").unwrap()
}

fn content(number: u64) -> Bytes {
    let digits = number.to_string();
    let is_large = number.is_multiple_of(4);
    Bytes::from(digits.repeat(if is_large { LARGE_VALUE_BYTES / digits.len() } else { 1 }))
}

/// Opened with so little memory for recent writes that tables are written and merged all the time.
fn open(directory: &Path) -> Arc<dyn Store> {
    let options = EmbeddedOptions { memtable_bytes: 256 * 1024, ..EmbeddedOptions::default() };
    Embedded::open_with(directory, options).unwrap().store(StoreOptions::default())
}

/// The process that gets killed; does nothing when it is run as a test of its own.
#[test]
fn appender() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let store = open(Path::new(&directory));
    runtime.block_on(async {
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(append(store.clone(), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// Appends batches without end and prints the number of each as soon as it is durable.
async fn append(store: Arc<dyn Store>, writer: usize) {
    let at = partition(writer);
    let head = store.get(&at, "head").await.unwrap();
    let mut number: u64 = head.map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap());
    loop {
        number += 1;
        let batch = vec![
            (format!("item/{number:08}/question"), content(number)),
            (format!("item/{number:08}/answer"), content(number)),
            ("head".to_owned(), Bytes::from(number.to_string())),
        ];
        store.set_many(&at, batch).await.unwrap().durable().await.unwrap();
        acknowledge(writer, number);
        if number.is_multiple_of(10) {
            tokio::time::sleep(REST).await;
        }
    }
}

/// One line, written whole, though several writers print.
fn acknowledge(writer: usize, number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "durable {writer} {number}").unwrap();
    out.flush().unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_and_no_batch_is_half_there_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let (mut kills, mut acknowledged) = (0, BTreeMap::new());
    while kills < KILLS_MIN || started.elapsed() < TIME {
        let life = Duration::from_millis(random() % LONGEST_LIFE_MS);
        acknowledged.extend(run_and_kill(directory.path(), life));
        kills += 1;
        check(directory.path(), &acknowledged);
    }
    let total: u64 = acknowledged.values().sum();
    assert!(acknowledged.len() == WRITERS && total > 100, "hardly anything was written: {acknowledged:?}");
    println!("{kills} kills, {total} acknowledged batches");
}

/// Lets the appender live for a while; returns the last number that each writer has acknowledged.
fn run_and_kill(directory: &Path, life: Duration) -> BTreeMap<usize, u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "appender", "--nocapture"])
        .env(DIRECTORY_VARIABLE, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut last = BTreeMap::new();
        for line in output.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The test harness prints on the same line before the first of ours.
            let Some((_, numbers)) = line.split_once("durable ") else { continue };
            let Some((writer, number)) = numbers.split_once(' ') else { continue };
            last.insert(writer.parse().unwrap(), number.parse().unwrap());
        }
        last
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Opens the store as the next process would and looks at every batch.
fn check(directory: &Path, acknowledged: &BTreeMap<usize, u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = open(directory);
    runtime.block_on(async {
        for writer in 0..WRITERS {
            let at = partition(writer);
            let head = store.get(&at, "head").await.unwrap();
            let head: u64 = head.map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap());
            let durable = acknowledged.get(&writer).copied().unwrap_or(0);
            assert!(head >= durable, "writer {writer}: {durable} was acknowledged, {head} is there");
            let numbers = 1..=head;
            let expected =
                numbers.flat_map(|n| ["answer", "question"].map(|part| (n, format!("item/{n:08}/{part}"))));
            let mut expected = expected.peekable();
            let mut cursor = None;
            loop {
                let page = store.keys(&at, "item/", cursor.as_deref(), KEYS_PAGE_MAX).await.unwrap();
                for key in page.keys {
                    assert_eq!(expected.next().map(|(_, key)| key), Some(key), "writer {writer} of {head}");
                }
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(expected.peek(), None, "writer {writer} of {head}");
            for number in head.saturating_sub(20).max(1)..=head {
                let key = format!("item/{number:08}/question");
                assert!(
                    store.get(&at, &key).await.unwrap() == Some(content(number)),
                    "writer {writer}: {key}"
                );
            }
        }
    });
}

/// A number that differs from run to run, so that runs try different moments.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}
