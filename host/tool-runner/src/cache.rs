//! The components that are ready to be called, bounded in number and size, and the files their code is kept in.

use crate::component::Prepared;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Components by their digests. Over its bounds the one goes that was used longest ago; calls under way keep theirs.
pub(crate) struct PreparedCache {
    components_max: usize,
    bytes_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_digest: HashMap<String, Entry>,
    /// Of all of them together.
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    prepared: Arc<Prepared>,
    bytes: usize,
    used: u64,
}

impl PreparedCache {
    pub(crate) fn new(components_max: usize, bytes_max: usize) -> Self {
        Self { components_max, bytes_max, entries: Mutex::default() }
    }

    pub(crate) fn get(&self, digest: &str) -> Option<Arc<Prepared>> {
        let mut entries = self.lock();
        entries.clock += 1;
        let clock = entries.clock;
        let entry = entries.by_digest.get_mut(digest)?;
        entry.used = clock;
        Some(Arc::clone(&entry.prepared))
    }

    /// Keeps it, and lets others go if that is too much.
    pub(crate) fn insert(&self, prepared: Arc<Prepared>) {
        let (digest, bytes) = (prepared.digest().to_owned(), prepared.compiled_bytes());
        let mut entries = self.lock();
        entries.remove(&digest);
        while entries.by_digest.len() >= self.components_max || entries.bytes + bytes > self.bytes_max {
            let oldest = entries.by_digest.iter().min_by_key(|(_digest, entry)| entry.used);
            let Some(oldest) = oldest.map(|(digest, _entry)| digest.clone()) else { break };
            entries.remove(&oldest);
        }
        entries.clock += 1;
        entries.bytes += bytes;
        let used = entries.clock;
        entries.by_digest.insert(digest, Entry { prepared, bytes, used });
    }

    pub(crate) fn remove(&self, digest: &str) {
        self.lock().remove(digest);
    }

    /// How many there are, and the bytes of their code.
    pub(crate) fn size(&self) -> (usize, usize) {
        let entries = self.lock();
        (entries.by_digest.len(), entries.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, digest: &str) {
        if let Some(entry) = self.by_digest.remove(digest) {
            self.bytes -= entry.bytes;
        }
    }
}

/// Removes the files of `folder` that were written longest ago, until it holds at most `bytes_max`. Code that is mapped
/// stays mapped, and whoever needs it later compiles it again. What cannot be removed is left to the next time.
pub(crate) fn prune(folder: &Path, bytes_max: u64) {
    let Ok(listed) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = listed
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    files.sort_unstable();
    let mut bytes: u64 = files.iter().map(|(_modified, bytes, _path)| bytes).sum();
    for (_modified, length, path) in files {
        if bytes <= bytes_max {
            return;
        }
        if fs::remove_file(&path).is_ok() {
            bytes -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::linker;
    use wasmtime::component::Component;

    fn prepared(digest: &str) -> Arc<Prepared> {
        let engine = wasmtime::Engine::default();
        let text = r#"(component
            (core module $m (func (export "f") (result i32) i32.const 1))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;
        let component = Component::from_binary(&engine, &wat::parse_str(text).unwrap()).unwrap();
        Arc::new(Prepared::link(&linker(&engine).unwrap(), &component, digest.into()).unwrap())
    }

    #[test]
    fn the_component_goes_that_was_used_longest_ago() {
        let cache = PreparedCache::new(2, usize::MAX);
        cache.insert(prepared("a"));
        cache.insert(prepared("b"));
        assert!(cache.get("a").is_some());
        cache.insert(prepared("c"));
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        assert!(cache.get("b").is_none());
    }

    #[test]
    fn their_code_is_bounded_but_for_the_newest() {
        let one = prepared("a").compiled_bytes();
        let cache = PreparedCache::new(100, one + 1);
        cache.insert(prepared("a"));
        cache.insert(prepared("a"));
        assert_eq!(cache.size(), (1, one));
        cache.insert(prepared("b"));
        assert!(cache.get("a").is_none() && cache.get("b").is_some());
        let tight = PreparedCache::new(100, 1);
        tight.insert(prepared("a"));
        assert!(tight.get("a").is_some());
        tight.remove("a");
        assert_eq!(tight.size(), (0, 0));
    }

    #[test]
    fn the_oldest_files_go_first_and_only_as_many_as_needed() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["old", "older", "oldest"].iter().enumerate() {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age as u64);
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        prune(folder.path(), 200);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["old", "older"]);
    }
}
