//! Which indexes there are, and which of them are in memory: read on first use, put away when others need the room.
//!
//! The folder of a tenant is `ROOT/TENANT`, that of an index `ROOT/TENANT/INDEX`, both by `names`. What is being made or
//! removed has a name that begins with a dot, so that a crash leaves nothing by halves.

use super::keeper::Queue;
use super::loaded::Loaded;
use super::names::{folder_of, name_of};
use super::opening;
use crate::bounds::check_tenant;
use crate::{EmbeddedConfig, IndexName, Settings, Usage, VectorError, metrics::Metrics};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// Indexes in memory, whatever memory they take: each has files open.
const LOADED_MAX: usize = 1_024;
const MAKING: &str = ".new-";
const REMOVING: &str = ".gone-";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> VectorError {
    move |error| VectorError::io(&path.display().to_string(), &error)
}

/// An index, in memory or not.
pub(crate) struct Slot {
    number: u64,
    folder: PathBuf,
    /// Held by whoever reads it into memory, puts it away, or removes it.
    gate: Arc<Gate<()>>,
    place: Mutex<Place>,
    /// When it was used last, by the catalog's count of uses.
    used_at: AtomicU64,
    /// What it has while it is not in memory.
    chunks: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Clone)]
enum Place {
    Away,
    Loaded(Arc<Loaded>),
    Damaged(String),
    Gone,
}

impl Slot {
    /// The index if it is in memory; none if it has to be read.
    fn loaded(&self) -> Result<Option<Arc<Loaded>>, VectorError> {
        match &*lock(&self.place) {
            Place::Away => Ok(None),
            Place::Loaded(loaded) => Ok(Some(Arc::clone(loaded))),
            Place::Damaged(what) => Err(VectorError::Damaged(what.clone())),
            Place::Gone => Err(VectorError::NoSuchIndex),
        }
    }

    fn usage(&self) -> (u64, u64) {
        match &*lock(&self.place) {
            Place::Loaded(loaded) => {
                let described = loaded.describe();
                (described.chunks, described.bytes)
            }
            _ => (self.chunks.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed)),
        }
    }

    fn remember(&self, (chunks, bytes): (u64, u64)) {
        self.chunks.store(chunks, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Puts it out of memory, if nobody uses it; whether it is out. `told` is called before it can be read again.
    fn put_away(&self, told: impl FnOnce()) -> Result<bool, VectorError> {
        let Ok(_alone) = self.gate.try_lock() else { return Ok(false) };
        let loaded = {
            let mut place = lock(&self.place);
            match &*place {
                Place::Loaded(loaded) if Arc::strong_count(loaded) == 1 => {}
                _ => return Ok(false),
            }
            match std::mem::replace(&mut *place, Place::Away) {
                Place::Loaded(loaded) => loaded,
                _ => return Ok(false),
            }
        };
        // Nobody can reach it from here on; whoever wants it waits at the gate.
        let described = loaded.describe();
        self.remember((described.chunks, described.bytes));
        let retired = loaded.retire();
        if matches!(retired, Ok(true)) {
            told();
        } else {
            *lock(&self.place) = Place::Loaded(loaded);
        }
        retired
    }

    /// There is no such index any more, for whoever has it at hand.
    fn close(&self) {
        let before = std::mem::replace(&mut *lock(&self.place), Place::Gone);
        if let Place::Loaded(loaded) = before {
            loaded.close();
        }
    }
}

/// The indexes of one tenant.
struct Tenant {
    folder: PathBuf,
    /// Held by whoever makes or removes an index; whether the folder was looked at.
    gate: Arc<Gate<()>>,
    is_listed: AtomicBool,
    slots: RwLock<BTreeMap<IndexName, Arc<Slot>>>,
}

impl Tenant {
    fn slot(&self, index: &IndexName) -> Option<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }
}

/// See the head of this file.
pub(crate) struct Catalog {
    root: PathBuf,
    /// Locked as long as the folder is in use.
    _lock: File,
    config: Arc<EmbeddedConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queue: Arc<Queue>,
    tenants: Mutex<HashMap<String, Arc<Tenant>>>,
    /// Indexes in memory, by the number of their slot.
    shelf: Mutex<BTreeMap<u64, Arc<Slot>>>,
    counter: AtomicU64,
}

impl Catalog {
    pub(crate) fn new(root: &Path, lock: File, config: Arc<EmbeddedConfig>, queue: Arc<Queue>) -> Self {
        Self {
            root: root.to_owned(),
            _lock: lock,
            config,
            metrics: Arc::new(Metrics::default()),
            queue,
            tenants: Mutex::new(HashMap::new()),
            shelf: Mutex::new(BTreeMap::new()),
            counter: AtomicU64::new(0),
        }
    }

    fn count(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A file or folder in the root can be made and removed.
    pub(crate) fn check(&self) -> Result<(), String> {
        let path = self.root.join(".check");
        let checked = File::create(&path).and_then(|_file| fs::remove_file(&path));
        checked.map_err(|error| format!("{}: {error}", path.display()))
    }

    async fn tenant(self: &Arc<Self>, tenant: &str) -> Result<Arc<Tenant>, VectorError> {
        check_tenant(tenant)?;
        let entry = {
            let mut tenants = lock(&self.tenants);
            let make = || {
                Arc::new(Tenant {
                    folder: self.root.join(folder_of(tenant)),
                    gate: Arc::new(Gate::new(())),
                    is_listed: AtomicBool::new(false),
                    slots: RwLock::new(BTreeMap::new()),
                })
            };
            Arc::clone(tenants.entry(tenant.to_owned()).or_insert_with(make))
        };
        if !entry.is_listed.load(Ordering::Acquire) {
            let alone = Arc::clone(&entry.gate).lock_owned().await;
            let (catalog, listed) = (Arc::clone(self), Arc::clone(&entry));
            blocking(move || catalog.list(&listed, &alone)).await?;
        }
        Ok(entry)
    }

    /// Looks at the folder of a tenant and removes what a crash left there by halves.
    fn list(&self, tenant: &Tenant, _alone: &OwnedMutexGuard<()>) -> Result<(), VectorError> {
        if tenant.is_listed.load(Ordering::Acquire) {
            return Ok(());
        }
        let entries = match tenant.folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tenant.is_listed.store(true, Ordering::Release);
                return Ok(());
            }
            Err(error) => return Err(failed(&tenant.folder)(error)),
        };
        let mut slots = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(failed(&tenant.folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(MAKING) || name.starts_with(REMOVING) {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            } else if let Some(index) = name_of(name).and_then(|name| IndexName::parse(&name).ok()) {
                let slot = self.slot(path);
                slot.remember(opening::summary(&slot.folder).unwrap_or_else(|error| {
                    tracing::error!(%error, "an index cannot be read");
                    (0, 0)
                }));
                slots.insert(index, Arc::new(slot));
            }
        }
        *tenant.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
        tenant.is_listed.store(true, Ordering::Release);
        Ok(())
    }

    fn slot(&self, folder: PathBuf) -> Slot {
        Slot {
            number: self.count(),
            folder,
            gate: Arc::new(Gate::new(())),
            place: Mutex::new(Place::Away),
            used_at: AtomicU64::new(self.count()),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// An index, read into memory if need be. As long as it is held it is not put away.
    pub(crate) async fn loaded(
        self: &Arc<Self>,
        tenant: &str,
        index: &IndexName,
    ) -> Result<Arc<Loaded>, VectorError> {
        let slot = self.tenant(tenant).await?.slot(index).ok_or(VectorError::NoSuchIndex)?;
        slot.used_at.store(self.count(), Ordering::Relaxed);
        if let Some(loaded) = slot.loaded()? {
            return Ok(loaded);
        }
        // The guard goes with the reading: were the caller to give up, nobody else must begin to read meanwhile.
        let alone = Arc::clone(&slot.gate).lock_owned().await;
        let catalog = Arc::clone(self);
        let loaded = blocking(move || catalog.load(&slot, &alone)).await?;
        self.queue.want_room();
        Ok(loaded)
    }

    fn load(&self, slot: &Arc<Slot>, _alone: &OwnedMutexGuard<()>) -> Result<Arc<Loaded>, VectorError> {
        if let Some(loaded) = slot.loaded()? {
            return Ok(loaded);
        }
        let loaded = opening::load(slot.folder.clone(), Arc::clone(&self.config), Arc::clone(&self.metrics));
        let loaded = Arc::new(loaded.inspect_err(|error| {
            if let VectorError::Damaged(what) = error {
                *lock(&slot.place) = Place::Damaged(what.clone());
            }
        })?);
        *lock(&slot.place) = Place::Loaded(Arc::clone(&loaded));
        lock(&self.shelf).insert(slot.number, Arc::clone(slot));
        self.metrics.loads.increment();
        self.metrics.loaded_indexes.add(1);
        // Parts that were made again, or left as they were by a crash, may have to be merged.
        self.queue.look_at(&loaded);
        Ok(loaded)
    }

    pub(crate) async fn create(
        self: &Arc<Self>,
        tenant: &str,
        index: &IndexName,
        settings: Settings,
    ) -> Result<(), VectorError> {
        let entry = self.tenant(tenant).await?;
        if entry.slot(index).is_some() {
            return self.check_same(tenant, index, settings).await;
        }
        let alone = Arc::clone(&entry.gate).lock_owned().await;
        let (catalog, name) = (Arc::clone(self), index.clone());
        let is_new = blocking(move || catalog.make(&entry, &name, settings, &alone)).await?;
        if is_new { Ok(()) } else { self.check_same(tenant, index, settings).await }
    }

    async fn check_same(
        self: &Arc<Self>,
        tenant: &str,
        index: &IndexName,
        settings: Settings,
    ) -> Result<(), VectorError> {
        let has = self.loaded(tenant, index).await?.describe().settings;
        if has == settings {
            return Ok(());
        }
        Err(VectorError::Invalid(format!(
            "there is an index {index} of {} dimensions, not of {}",
            has.dimensions, settings.dimensions
        )))
    }

    /// Makes an index; false if it has been made meanwhile.
    fn make(
        &self,
        tenant: &Tenant,
        index: &IndexName,
        settings: Settings,
        _alone: &OwnedMutexGuard<()>,
    ) -> Result<bool, VectorError> {
        if tenant.slot(index).is_some() {
            return Ok(false);
        }
        if !tenant.folder.exists() {
            let made = fs::create_dir_all(&tenant.folder).and_then(|()| File::open(&self.root)?.sync_all());
            made.map_err(failed(&tenant.folder))?;
        }
        let beside = tenant.folder.join(format!("{MAKING}{}", self.count()));
        let folder = tenant.folder.join(folder_of(index.as_str()));
        opening::create(&folder, &beside, settings)?;
        let slot = Arc::new(self.slot(folder));
        tenant.slots.write().unwrap_or_else(PoisonError::into_inner).insert(index.clone(), slot);
        Ok(true)
    }

    pub(crate) async fn drop_index(
        self: &Arc<Self>,
        tenant: &str,
        index: &IndexName,
    ) -> Result<(), VectorError> {
        let entry = self.tenant(tenant).await?;
        let alone = Arc::clone(&entry.gate).lock_owned().await;
        let (catalog, index) = (Arc::clone(self), index.clone());
        blocking(move || {
            let Some(slot) = entry.slot(&index) else { return Ok(()) };
            let removed = entry.folder.join(format!("{REMOVING}{}", catalog.count()));
            catalog.take_from_shelf(&slot);
            let renamed =
                fs::rename(&slot.folder, &removed).and_then(|()| File::open(&entry.folder)?.sync_all());
            renamed.map_err(failed(&slot.folder))?;
            entry.slots.write().unwrap_or_else(PoisonError::into_inner).remove(&index);
            drop(alone);
            fs::remove_dir_all(&removed).map_err(failed(&removed))
        })
        .await
    }

    /// Nobody reads it into memory or changes it from here on. Blocks until who does so now has ended.
    fn take_from_shelf(&self, slot: &Slot) {
        let _alone = slot.gate.blocking_lock();
        slot.close();
        if lock(&self.shelf).remove(&slot.number).is_some() {
            self.metrics.loaded_indexes.add(-1);
        }
    }

    pub(crate) async fn erase(self: &Arc<Self>, tenant: &str) -> Result<(), VectorError> {
        let entry = self.tenant(tenant).await?;
        let alone = Arc::clone(&entry.gate).lock_owned().await;
        let catalog = Arc::clone(self);
        blocking(move || {
            let slots = entry.slots.read().unwrap_or_else(PoisonError::into_inner).clone();
            slots.values().for_each(|slot| catalog.take_from_shelf(slot));
            let removed = catalog.root.join(format!("{REMOVING}{}", catalog.count()));
            if entry.folder.exists() {
                let renamed = fs::rename(&entry.folder, &removed);
                renamed
                    .and_then(|()| File::open(&catalog.root)?.sync_all())
                    .map_err(failed(&entry.folder))?;
            }
            entry.slots.write().unwrap_or_else(PoisonError::into_inner).clear();
            drop(alone);
            if removed.exists() { fs::remove_dir_all(&removed).map_err(failed(&removed)) } else { Ok(()) }
        })
        .await
    }

    pub(crate) async fn names(
        self: &Arc<Self>,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, VectorError> {
        let entry = self.tenant(tenant).await?;
        let slots = entry.slots.read().unwrap_or_else(PoisonError::into_inner);
        let names =
            slots.keys().map(IndexName::as_str).filter(|name| after.is_none_or(|after| *name > after));
        Ok(names.take(limit).map(str::to_owned).collect())
    }

    pub(crate) async fn usage(self: &Arc<Self>, tenant: &str) -> Result<Usage, VectorError> {
        let entry = self.tenant(tenant).await?;
        let slots = entry.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut usage = Usage { indexes: slots.len() as u64, ..Usage::default() };
        for slot in slots.values() {
            let (chunks, bytes) = slot.usage();
            usage.chunks += chunks;
            usage.bytes += bytes;
        }
        Ok(usage)
    }

    /// Published chunks and bytes of what is in memory.
    pub(crate) fn in_memory(&self) -> (u64, u64) {
        let loaded: Vec<_> =
            lock(&self.shelf).values().filter_map(|slot| slot.loaded().ok().flatten()).collect();
        loaded.iter().fold((0, 0), |(chunks, bytes), loaded| {
            (chunks + loaded.describe().chunks, bytes + loaded.memory_bytes())
        })
    }

    /// Puts away what was used least lately, until what is in memory is within its bound or is all in use. Whether it is
    /// within its bound.
    pub(crate) fn make_room(&self) -> bool {
        let mut tried = Vec::new();
        while let Some(slot) = self.surplus(&tried) {
            tried.push(slot.number);
            let told = || {
                lock(&self.shelf).remove(&slot.number);
                self.metrics.evictions.increment();
                self.metrics.loaded_indexes.add(-1);
            };
            if let Err(error) = slot.put_away(told) {
                tracing::error!(%error, "an index cannot be put away");
            }
        }
        self.surplus(&[]).is_none()
    }

    /// The index that was used least lately, if there is too much in memory.
    fn surplus(&self, tried: &[u64]) -> Option<Arc<Slot>> {
        let slots: Vec<Arc<Slot>> = lock(&self.shelf).values().cloned().collect();
        let (_, bytes) = self.in_memory();
        if bytes <= self.config.memory_bytes_max && slots.len() <= LOADED_MAX {
            return None;
        }
        let left = slots.into_iter().filter(|slot| !tried.contains(&slot.number));
        left.min_by_key(|slot| slot.used_at.load(Ordering::Relaxed))
    }
}

/// Removes what a crash left by halves in the root.
pub(crate) fn clean(root: &Path) -> io::Result<()> {
    for entry in root.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(REMOVING) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Runs what blocks on a thread for that. It goes on though nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VectorError> + Send + 'static,
) -> Result<T, VectorError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(VectorError::Other(format!("it was not completed: {error}"))))
}
