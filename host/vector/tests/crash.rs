//! Kill -9 at any moment: what was acknowledged is found, and no version is found by halves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/chunks.rs"]
mod chunks;

use chunks::{SETTINGS, by_vector, by_words, index, with_vector};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use waggle_vector::{Chunk, Embedded, EmbeddedConfig, Query, VectorIndexes as _};

const FOLDER_VARIABLE: &str = "WAGGLE_VECTOR_CRASH_FOLDER";
/// How many kills at least; 100 and more for a thorough run.
const ROUNDS_VARIABLE: &str = "WAGGLE_VECTOR_CRASH_ROUNDS";
const ROUNDS: u64 = 12;
const WRITERS: u64 = 3;
const LONGEST_LIFE_MS: u64 = 900;
const TENANT: &str = "acme";
const GROUPS: u64 = 40;

fn open(folder: &Path) -> Embedded {
    // Graphs and files are made all the time.
    let config = EmbeddedConfig { exact_chunks_max: 300, ..EmbeddedConfig::default() };
    Embedded::open(folder, config).unwrap()
}

/// The chunks of a version of a group. A version has as many as no neighbouring one has.
fn content(writer: u64, group: u64, version: u64) -> Vec<Chunk> {
    let count = 1 + (version * 7 + group) % 23;
    let filler = "filler ".repeat((version % 5 * 60) as usize);
    (0..count)
        .map(|ordinal| {
            let word = format!("w{writer}g{group}v{version}");
            let vector = [version as f32, group as f32 + 1.0, ordinal as f32, writer as f32];
            with_vector(u32::try_from(ordinal).unwrap(), &format!("{word} {filler}"), vector)
        })
        .collect()
}

/// The process that gets killed; does nothing when it is run as a test of its own.
#[test]
fn writer() {
    let Some(folder) = env::var_os(FOLDER_VARIABLE) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let indexes = std::sync::Arc::new(open(Path::new(&folder)));
    runtime.block_on(async {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let indexes = std::sync::Arc::clone(&indexes);
                tokio::spawn(async move { write(&indexes, writer).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// Publishes versions without end and prints each as soon as it is acknowledged. A version 0 stands for a removal.
async fn write(indexes: &Embedded, writer: u64) {
    let docs = index(&format!("docs{}", writer % 2));
    indexes.create(TENANT, &docs, SETTINGS).await.unwrap();
    let mut version = versions(indexes, writer).await.into_values().max().unwrap_or_default();
    loop {
        version += 1;
        let group = random() % GROUPS;
        let name = format!("w{writer}-{group}");
        if random().is_multiple_of(8) {
            acknowledge("removing", writer, group, 0);
            indexes.remove(TENANT, &docs, vec![name]).await.unwrap();
            acknowledge("done", writer, group, 0);
            continue;
        }
        let chunks = content(writer, group, version);
        let count = u32::try_from(chunks.len()).unwrap();
        let (first, second) = chunks.split_at(chunks.len() / 2);
        for half in [first, second] {
            indexes.stage(TENANT, &docs, &name, version, half.to_vec()).await.unwrap();
        }
        indexes.publish(TENANT, &docs, &name, version, count, vec![]).await.unwrap();
        acknowledge("done", writer, group, version);
    }
}

/// One line, written whole, though several writers print.
fn acknowledge(what: &str, writer: u64, group: u64, version: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {what} {writer} {group} {version}").unwrap();
    out.flush().unwrap();
}

#[test]
fn what_was_acknowledged_is_found_whole_after_kill_9() {
    let rounds = env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for _round in 0..rounds {
        let life = Duration::from_millis(random() % LONGEST_LIFE_MS);
        run_and_kill(folder.path(), life, &mut acknowledged);
        check(folder.path(), &acknowledged);
    }
    let written = acknowledged.len();
    assert!(written > 20, "hardly anything was written: {written} groups");
    println!("{rounds} kills, {written} groups");
}

/// The last version that was acknowledged of each group, 0 for none; `None` while it was being removed.
type Acknowledged = BTreeMap<(u64, u64), Option<u64>>;

fn run_and_kill(folder: &Path, life: Duration, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = output.split(b'\n').map_while(Result::ok);
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        // The test harness prints on the same line before the first of ours.
        lines.filter_map(|line| Some(line.split_once("ack ")?.1.to_owned())).collect::<Vec<_>>()
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, writer, group, version] = words[..] else { panic!("{line}") };
        let key = (writer.parse().unwrap(), group.parse().unwrap());
        acknowledged.insert(key, (what == "done").then(|| version.parse().unwrap()));
    }
}

async fn versions(indexes: &Embedded, writer: u64) -> BTreeMap<u64, u64> {
    let docs = index(&format!("docs{}", writer % 2));
    let groups = indexes.list_groups(TENANT, &docs, None, 1_000).await.unwrap_or_default();
    let prefix = format!("w{writer}-");
    let own = groups
        .into_iter()
        .filter_map(|group| Some((group.name.strip_prefix(&prefix)?.parse().unwrap(), group.version)));
    own.collect()
}

/// Opens the folder as the next process would and looks at every group.
fn check(folder: &Path, acknowledged: &Acknowledged) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let indexes = open(folder);
    runtime.block_on(async {
        for writer in 0..WRITERS {
            let versions = versions(&indexes, writer).await;
            for group in 0..GROUPS {
                let found = versions.get(&group).copied().unwrap_or_default();
                // What was being removed may be there or not, and so may what was being published after a removal.
                if let Some(Some(version)) = acknowledged.get(&(writer, group)) {
                    assert!(found >= *version, "writer {writer} group {group}: {version} {found}");
                }
                if found > 0 {
                    check_group(&indexes, writer, group, found).await;
                }
            }
        }
    });
}

/// The version is there with all its chunks, and found by its words and by its vectors.
async fn check_group(indexes: &Embedded, writer: u64, group: u64, version: u64) {
    let docs = index(&format!("docs{}", writer % 2));
    let expected: Vec<Chunk> = content(writer, group, version);
    let read = indexes.read(TENANT, &docs, &format!("w{writer}-{group}"), 0, 256).await.unwrap();
    let without_vectors: Vec<Chunk> =
        expected.iter().map(|chunk| Chunk { vector: None, ..chunk.clone() }).collect();
    assert_eq!(read, without_vectors);
    let word = format!("w{writer}g{group}v{version}");
    let query = Query { limit: 100, ..by_words(&word) };
    let hits = indexes.search(TENANT, std::slice::from_ref(&docs), query).await.unwrap();
    assert_eq!(hits.len(), expected.len(), "{word}");
    let vector: [f32; 4] = expected[0].vector.clone().unwrap().try_into().unwrap();
    let hits = indexes.search(TENANT, &[docs], by_vector(vector)).await.unwrap();
    assert!(hits[0].vector_score.unwrap() > 0.9, "{word}");
}

/// A number that differs from run to run, so that runs try different moments.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}
