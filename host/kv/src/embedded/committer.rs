//! The thread that makes writes durable. Writes gather in the engine's memory; when somebody waits for one of them, or
//! after a moment if nobody does, all that have gathered are handed to the operating system in one piece and flushed to
//! the device. All writes that arrive during one flush share the next.
//!
//! It flushes the engine's journal through a file handle of its own. The engine's own `persist` would hold the lock
//! of the journal for the length of the flush, some milliseconds in which no write could be applied
//! (docs/decisions/0001-embedded-store.md has the numbers).

use super::FlushHook;
use crate::{Error, commit::Progress};
use fjall::{Database, PersistMode};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use waggle_measure::Histogram;

const JOURNAL_EXTENSION: &str = "jnl";
/// How long a write that nobody waits for may stay in memory.
const UNWANTED_MS_MAX: u64 = 10;
/// When so many have come to wait during a flush, the next one lets more come first.
const ARRIVED_TO_LINGER: usize = 3;
/// How long it lets them come at most. It is as long as the last flush was, if that is shorter.
const LINGER_MS_MAX: u64 = 2;

/// The running thread; dropping it flushes what is left and ends it.
pub(super) struct Committer {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts flushing the database whose journals lie in `directory`.
    pub(super) fn start(
        database: &Database,
        directory: &Path,
        progress: &Arc<Progress>,
        before_flush: Option<FlushHook>,
        flushes: &Arc<Histogram>,
    ) -> Result<Self, Error> {
        let journal = Journal::newest(directory).map_err(|source| Error::io(directory, source))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut flusher = Flusher {
            database: database.clone(),
            journal,
            progress: progress.clone(),
            stop: stop.clone(),
            before_flush,
            flushes: Arc::clone(flushes),
        };
        let thread = thread::Builder::new()
            .name("kv-committer".into())
            .spawn(move || flusher.run())
            .map_err(|source| Error::io(directory, source))?;
        progress.set_committer(thread.thread().clone());
        Ok(Self { stop, progress: progress.clone(), thread: Some(thread) })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.progress.wake_committer();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes writes durable ended in a panic");
        }
    }
}

struct Flusher {
    database: Database,
    journal: Journal,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    before_flush: Option<FlushHook>,
    flushes: Arc<Histogram>,
}

impl Flusher {
    fn run(&mut self) {
        let mut last_flush = Duration::ZERO;
        loop {
            let durable = self.progress.durable();
            if durable >= self.database.visible_seqno() {
                if self.stop.load(Ordering::Acquire) {
                    return;
                }
                // Who came during the last flush has been served by it.
                self.progress.take_arrived();
                self.progress.idle_until_woken(|| durable < self.database.visible_seqno());
                continue;
            }
            if self.progress.take_arrived() >= ARRIVED_TO_LINGER && self.progress.is_wanted() {
                self.linger(last_flush);
            } else {
                self.gather();
            }
            // Who comes from here on comes during the flush.
            self.progress.take_arrived();
            // Read before the flush: every write up to here is in the journal, because the engine makes a write visible
            // only after that.
            let applied = self.database.visible_seqno();
            let began = Instant::now();
            let flushed = self.flush();
            last_flush = began.elapsed();
            self.flushes.observe(last_flush);
            if let Err(error) = flushed {
                tracing::error!(%error, "a write could not be made durable; the store takes no more writes");
                self.progress.fail(Error::Poisoned { reason: error.to_string() });
                return;
            }
            self.progress.advance(applied);
        }
    }

    /// Returns when somebody waits for a write, or when there has been one for long enough.
    fn gather(&self) {
        let until = Instant::now() + Duration::from_millis(UNWANTED_MS_MAX);
        while !self.progress.is_wanted() && !self.stop.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// Lets more come to wait, where so many have that more will: a flush costs the processor as much for one as for ten.
    /// (PostgreSQL's `commit_siblings` and `commit_delay`.) It at most doubles what a flush makes them wait.
    fn linger(&self, last_flush: Duration) {
        if !self.stop.load(Ordering::Acquire) {
            thread::sleep(last_flush.min(Duration::from_millis(LINGER_MS_MAX)));
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(hook) = &self.before_flush {
            hook()?;
        }
        self.database.persist(PersistMode::Buffer).map_err(io::Error::other)?;
        self.journal.flush()
    }
}

/// The engine's journal: numbered files, of which the one with the highest number is written to.
struct Journal {
    directory: PathBuf,
    number: u64,
    file: File,
}

impl Journal {
    fn newest(directory: &Path) -> io::Result<Self> {
        let number = newest_journal(directory)?;
        let file = open_journal(&journal_path(directory, number))?;
        Ok(Self { directory: directory.to_path_buf(), number, file })
    }

    /// Flushes the file last written to, and the one that the engine has gone on to since, if it has. Those in
    /// between are durable: the engine flushes a journal before it begins the next one.
    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        while let Some(next) = self.next()? {
            *self = next;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// The journal after this one. The engine removes journals that it no longer needs, the oldest first, so if this
    /// one is gone the next may be as well.
    fn next(&self) -> io::Result<Option<Self>> {
        let number = self.number + 1;
        match open_journal(&journal_path(&self.directory, number)) {
            Ok(file) => Ok(Some(Self { directory: self.directory.clone(), number, file })),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if self.file.metadata()?.nlink() > 0 => Ok(None),
            Err(_) => Self::newest(&self.directory)
                .map(|newest| Some(newest).filter(|newest| newest.number > self.number)),
        }
    }
}

fn journal_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.{JOURNAL_EXTENSION}"))
}

/// The number of the journal that is written to.
pub(super) fn newest_journal(directory: &Path) -> io::Result<u64> {
    let mut newest = None;
    for entry in std::fs::read_dir(directory)? {
        newest = newest.max(journal_number(&entry?.path()));
    }
    newest.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no journal"))
}

pub(super) fn journal_number(path: &Path) -> Option<u64> {
    let is_journal = path.extension().is_some_and(|extension| extension == JOURNAL_EXTENSION);
    path.file_stem().filter(|_| is_journal)?.to_str()?.parse().ok()
}

/// Opened for writing though it is only flushed, because not every system flushes through a read-only handle.
fn open_journal(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::KeyspaceCreateOptions;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn newest_number(directory: &Path) -> u64 {
        Journal::newest(directory).unwrap().number
    }

    #[test]
    fn flushing_follows_the_engine_to_its_newest_journal() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::builder(directory.path()).open().unwrap();
        let settings = || KeyspaceCreateOptions::default().max_memtable_size(1024 * 1024);
        let keyspace = database.keyspace("data", settings).unwrap();
        let mut journal = Journal::newest(directory.path()).unwrap();
        let (first, deadline) = (journal.number, Instant::now() + DEADLINE);
        while newest_number(directory.path()) < first + 2 {
            assert!(Instant::now() < deadline, "the engine has begun no new journal in {DEADLINE:?}");
            keyspace.insert("key", vec![7; 256 * 1024]).unwrap();
        }
        let newest = newest_number(directory.path());
        journal.flush().unwrap();
        assert!(journal.number >= newest, "{} instead of {newest}", journal.number);
    }

    #[test]
    fn flushing_finds_the_newest_journal_though_those_before_it_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let create = |number| File::create(journal_path(directory.path(), number)).unwrap();
        create(0);
        let mut journal = Journal::newest(directory.path()).unwrap();
        let mut check = |expected: u64| {
            journal.flush().unwrap();
            assert_eq!(journal.number, expected);
        };
        check(0);
        create(1);
        check(1);
        create(4);
        check(1);
        (0..2).for_each(|number| std::fs::remove_file(journal_path(directory.path(), number)).unwrap());
        check(4);
    }

    #[test]
    fn only_numbered_journals_are_journals() {
        let check = |name: &str, expected: Option<u64>| {
            assert_eq!(journal_number(Path::new(name)), expected, "{name}")
        };
        check("store/0.jnl", Some(0));
        check("store/17.jnl", Some(17));
        for other in ["store/lock", "store/version", "store/x.jnl", "store/1.jnl.old", "store/keyspaces"] {
            check(other, None);
        }
    }
}
