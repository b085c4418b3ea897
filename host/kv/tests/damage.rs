//! A store that is damaged, foreign, newer, locked or out of reach: each is told apart, and nothing wrong is read.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use waggle_kv::{Embedded, EmbeddedOptions, Error, Partition, StoreOptions};

const DIRECTORY_VARIABLE: &str = "WAGGLE_KV_LOCK_DIRECTORY";
const KEYS: usize = 400;
const VALUE_BYTES: usize = 2_000;

fn at() -> Partition {
    Partition::new("tenant", "default").unwrap()
}

fn key(number: usize) -> String {
    format!("key/{number:05}")
}

fn content(number: usize) -> Bytes {
    Bytes::from(format!("{number:05}").repeat(VALUE_BYTES / 5))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Writes a store whose data lies partly in the journal and partly in the files of the tree.
fn write_store(directory: &Path) {
    let options = EmbeddedOptions { memtable_bytes: 64 * 1024, ..EmbeddedOptions::default() };
    let engine = Embedded::open_with(directory, options).unwrap();
    let store = engine.store(StoreOptions::default());
    runtime().block_on(async {
        for number in 0..KEYS {
            store.set(&at(), &key(number), content(number)).await.unwrap().durable().await.unwrap();
        }
        engine.close().await.unwrap();
    });
}

fn open_error(directory: &Path) -> Error {
    match Embedded::open(directory) {
        Ok(_) => panic!("{} was opened", directory.display()),
        Err(error) => error,
    }
}

#[test]
fn what_is_not_a_whole_store_of_ours_is_refused_for_the_right_reason() {
    let whole = Image::of_a_store();
    let check = |damage: &dyn Fn(&Path), kind: &str, words: &[&str]| {
        let copy = tempfile::tempdir().unwrap();
        whole.write_to(copy.path());
        damage(copy.path());
        let error = open_error(copy.path());
        let (said, debug) = (error.to_string(), format!("{error:?}"));
        assert!(debug.starts_with(kind), "{debug} instead of {kind}");
        assert!(words.iter().all(|word| said.contains(word)), "{said:?} does not say {words:?}");
        assert!(said.contains(&*copy.path().to_string_lossy()), "{said:?} does not name the directory");
    };
    let header =
        |content: &'static [u8]| move |path: &Path| fs::write(path.join("waggle-kv"), content).unwrap();
    check(&header(b"WAGGLEKV\0\0"), "Damaged", &["waggle-kv", "truncated to 10 of 20 bytes", "backup"]);
    check(&header(b""), "Damaged", &["truncated to 0 of 20 bytes"]);
    check(&header(b"SQLite format 3\0 and more"), "NotAStore", &["waggle-kv"]);
    check(&header(&[0; 20]), "NotAStore", &["waggle-kv"]);
    check(&header(b"WAGGLEKV\0\0\0\x07\0\0\0\x01\xcc\xf4\x14\x48"), "Damaged", &["checksum"]);
    check(&newer_header, "NewerVersion", &["version 7", "up to 1", "newer program"]);
    check(&|path| fs::remove_file(path.join("waggle-kv")).unwrap(), "Damaged", &["waggle-kv", "missing"]);
    check(&|path| fs::remove_file(path.join("engine/version")).unwrap(), "Damaged", &["version", "missing"]);
    check(&|path| fs::write(path.join("engine/version"), "FJ").unwrap(), "Damaged", &["version"]);
    check(&|path| fs::write(path.join("engine/version"), "FJL\x09").unwrap(), "Damaged", &["version"]);
}

fn newer_header(path: &Path) {
    let mut header = *b"WAGGLEKV\0\0\0\x07\0\0\0\x01\0\0\0\0";
    let checksum = header[..16]
        .iter()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    header[16..].copy_from_slice(&checksum.to_be_bytes());
    fs::write(path.join("waggle-kv"), header).unwrap();
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "chapter 1").unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, Error::NotAStore { .. }) && error.to_string().contains("thesis.txt"), "{error}");
    let error = open_error(&directory.path().join("thesis.txt"));
    assert!(matches!(error, Error::NotAStore { .. }) && error.to_string().contains("is a file"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was added");
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(Embedded::open(&path).unwrap());
    // What a kill -9 leaves that comes after the first header and in the middle of the engine's files.
    let mut header = *b"WAGGLEKV\0\0\0\x01\0\0\0\0\0\0\0\0";
    let checksum = header[..16]
        .iter()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    header[16..].copy_from_slice(&checksum.to_be_bytes());
    fs::write(path.join("waggle-kv"), header).unwrap();
    fs::remove_file(path.join("engine/version")).unwrap();
    for _ in 0..2 {
        let store = Embedded::open(&path).unwrap().store(StoreOptions::default());
        let commit = runtime().block_on(store.set(&at(), "k", Bytes::new())).unwrap();
        runtime().block_on(commit.durable()).unwrap();
    }
}

/// Harms one file.
type Damage = fn(&Path);

/// Damages each file of the engine in several ways. The store may refuse to open, or refuse to read a key; what it
/// must not do is to panic, to give a wrong value, or to lose keys without a word. Only the end of the journal may
/// be missing, because that is how a write looks that a crash has cut off.
#[test]
fn damaged_files_never_give_wrong_values() {
    let whole = Image::of_a_store();
    let files: Vec<_> =
        whole.0.iter().map(|file| &file.path).filter(|path| path.starts_with("engine")).collect();
    assert!(files.iter().any(|file| file.components().any(|part| part.as_os_str() == "tables")), "{files:?}");
    let damages: [(&str, Damage); 5] = [
        ("removed", remove),
        ("truncated", truncate_to_half),
        ("emptied", empty),
        ("with one byte changed", flip_a_byte),
        ("filled with garbage", fill_with_garbage),
    ];
    let mut failures = Vec::new();
    for file in files {
        for (name, damage) in damages {
            let copy = tempfile::tempdir().unwrap();
            whole.write_to(copy.path());
            damage(&copy.path().join(file));
            let is_journal = file.extension().is_some_and(|extension| extension == "jnl");
            if std::panic::catch_unwind(|| read_all(copy.path(), is_journal)).is_err() {
                failures.push(format!("{} {name}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "see above for {failures:?}");
}

/// A power cut leaves zeros where the journal's last blocks were not yet on the device.
#[test]
fn a_journal_whose_end_never_reached_the_device_is_read_up_to_there() {
    let mut image = Image::of_a_store();
    for cut_bytes in [1, 9, 500, 2_100, 4_096, 30_000] {
        let journal =
            image.0.iter_mut().find(|file| file.path.extension().is_some_and(|extension| extension == "jnl"));
        let content = &mut journal.unwrap().content;
        content.truncate(content.len() - cut_bytes);
        let copy = tempfile::tempdir().unwrap();
        image.write_to(copy.path());
        drop(Embedded::open(copy.path()).unwrap());
        read_all(copy.path(), true);
    }
}

fn read_all(directory: &Path, may_end_early: bool) {
    let engine = match Embedded::open(directory) {
        Ok(engine) => engine,
        Err(Error::Damaged { .. } | Error::Io { .. }) => return,
        Err(error) => panic!("{error:?}"),
    };
    let store = engine.store(StoreOptions::default());
    let mut has_ended = false;
    for number in 0..KEYS {
        match runtime().block_on(store.get(&at(), &key(number))) {
            Ok(Some(value)) => assert!(value == content(number) && !has_ended, "key {number} is wrong"),
            Ok(None) => {
                assert!(may_end_early, "key {number} was lost without a word");
                has_ended = true;
            }
            Err(error) => assert!(matches!(error, Error::Damaged { .. } | Error::Io { .. }), "{error:?}"),
        }
    }
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn truncate_to_half(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, []).unwrap();
}

fn flip_a_byte(path: &Path) {
    let mut content = fs::read(path).unwrap();
    // The first half is written to even in a file that was made large in advance.
    let middle = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 2;
    if let Some(byte) = content.get_mut(middle) {
        *byte ^= 0x55;
    }
    fs::write(path, content).unwrap();
}

fn fill_with_garbage(path: &Path) {
    let length = fs::metadata(path).unwrap().len().min(1 << 20);
    let garbage: Vec<u8> = (0..length).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    fs::write(path, garbage).unwrap();
}

/// The process that holds the lock; does nothing when it is run as a test of its own.
#[test]
fn lock_holder() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let _engine = Embedded::open(Path::new(&directory)).unwrap();
    println!("locked");
    std::io::stdout().flush().unwrap();
    // Until the other side closes the pipe.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_store_in_use_names_the_process_that_has_it_and_is_free_after_its_death() {
    let directory = tempfile::tempdir().unwrap();
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "lock_holder", "--nocapture"])
        .env(DIRECTORY_VARIABLE, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("locked")), "the holder did not start");
    let error = open_error(directory.path());
    assert!(matches!(error, Error::Locked { holder: Some(pid), .. } if pid == holder.id()), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(Embedded::open(directory.path()).unwrap());
}

#[test]
fn opening_twice_in_one_process_is_refused_until_the_first_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let first = Embedded::open(directory.path()).unwrap();
    let error = open_error(directory.path());
    assert!(error.to_string().contains("this same process"), "{error}");
    let store = first.store(StoreOptions::default());
    drop(first);
    assert!(matches!(open_error(directory.path()), Error::Locked { .. }), "a store of it is still there");
    drop(store);
    drop(Embedded::open(directory.path()).unwrap());
}

/// A place where even the administrator may make no directory.
#[cfg(target_os = "linux")]
#[test]
fn a_lack_of_permission_is_said_as_such() {
    let error = open_error(Path::new("/sys/kernel/waggle-store"));
    assert!(
        matches!(error, Error::NoPermission { .. }) && error.to_string().contains("/sys/kernel"),
        "{error:?}"
    );
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// The files of a store. Their zeros at the end, megabytes in the journal, are kept only as a length.
struct Image(Vec<ImageFile>);

struct ImageFile {
    path: PathBuf,
    content: Vec<u8>,
    length: u64,
}

impl Image {
    fn of_a_store() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_store(directory.path());
        let files = files_under(directory.path()).into_iter().map(|file| {
            let mut content = fs::read(&file).unwrap();
            let length = content.len() as u64;
            content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            ImageFile { path: file.strip_prefix(directory.path()).unwrap().to_path_buf(), content, length }
        });
        Self(files.collect())
    }

    fn write_to(&self, directory: &Path) {
        for ImageFile { path, content, length } in &self.0 {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(*length).unwrap();
        }
    }
}
