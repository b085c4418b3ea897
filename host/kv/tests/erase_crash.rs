//! Kill -9 in the middle of an erasure: another one completes it, and nobody else has lost anything.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/files.rs"]
mod files;

use bytes::Bytes;
use files::files_with;
use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use waggle_kv::{Embedded, EmbeddedOptions, Partition, Store, StoreOptions, TenantPart, Usage};

const DIRECTORY_VARIABLE: &str = "WAGGLE_KV_ERASE_DIRECTORY";
const CANARY: &str = "canary-in-a-coal-mine";
const KILLS: u64 = 8;
const KEYS: usize = 4_000;
/// The k-th life ends after k squared of these: in the deletes, in the new journal, in the merge, and after all of it.
const LIFE_STEP: Duration = Duration::from_millis(9);

fn part(tenant: &str) -> TenantPart {
    TenantPart::new(tenant).unwrap()
}

fn open(directory: &Path) -> Arc<dyn Store> {
    let options = EmbeddedOptions { memtable_bytes: 128 * 1024, ..EmbeddedOptions::default() };
    Embedded::open_with(directory, options).unwrap().store(StoreOptions::default())
}

async fn fill(store: &dyn Store, tenant: &str) {
    let content = Bytes::from(format!("{tenant} {CANARY} ").repeat(4));
    let entries = |from: usize| (from..from + 500).map(|i| (format!("{i:05}"), content.clone())).collect();
    for label in ["default", "other"] {
        let at = Partition::new(tenant, label).unwrap();
        for from in (0..KEYS / 2).step_by(500) {
            store.set_many(&at, entries(from)).await.unwrap().durable().await.unwrap();
        }
    }
}

/// The process that gets killed; does nothing when it is run as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eraser() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let store = open(Path::new(&directory));
    fill(&*store, "acme").await;
    println!("erasing");
    store.erase(&part("acme")).await.unwrap();
    println!("erased");
}

/// Lets a process erase for a while; returns whether it had ended by then.
fn run_and_kill(directory: &Path, life: Duration) -> bool {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "eraser", "--nocapture"])
        .env(DIRECTORY_VARIABLE, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("erasing")), "the process has not begun to erase");
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.any(|line| line.contains("erased"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_cut_short_by_kill_9_is_completed_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&*store, "shop").await;
    let others = store.usage(&part("shop")).await.unwrap();
    assert_eq!(others.keys, KEYS as u64);
    drop(store);
    let (mut interrupted, mut partly) = (0, 0);
    for kill in 0..KILLS {
        let has_ended = run_and_kill(directory.path(), LIFE_STEP * u32::try_from(kill * kill).unwrap());
        let store = open(directory.path());
        let left = store.usage(&part("acme")).await.unwrap();
        interrupted += u64::from(!has_ended);
        partly += u64::from(!has_ended && left.keys < KEYS as u64);
        assert!(!has_ended || left == Usage::default(), "erased, but {left:?} is left");
        let started = Instant::now();
        let erased = store.erase(&part("acme")).await.unwrap();
        assert_eq!((erased.keys, erased.bytes, erased.remaining), (left.keys, left.bytes, 0));
        let needle = format!("acme {CANARY}");
        assert_eq!(files_with(directory.path(), needle.as_bytes()), Vec::<PathBuf>::new(), "kill {kill}");
        assert_eq!(store.usage(&part("shop")).await.unwrap(), others);
        println!("kill {kill}: {} keys were left, erased in {:?}", left.keys, started.elapsed());
    }
    assert!(interrupted > 0 && partly > 0, "{interrupted} erasures were cut short, {partly} in the middle");
}
