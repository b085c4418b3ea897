//! Keys that are elsewhere, in a file or behind an address: loaded when first needed, kept, loaded again when they may
//! have changed.
//!
//! One load at a time per place, in a task of its own, so that it survives the request that asked for it.

use super::freshness::{self, Decision, History, Need, Rules};
use super::key_set::{JWKS_BYTES_MAX, KeySet};
use super::{JwksFetch, TokenError};
use arc_swap::ArcSwap;
use ring::digest::{self, SHA256_OUTPUT_LEN};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a request waits for a load, milliseconds.
const WAIT_MS_MAX: u64 = 5_000;

/// How long a load may take, milliseconds: less, so that whoever waits learns what went wrong.
const LOAD_MS_MAX: u64 = 4_900;

/// For how long a fetched set is fresh, seconds: what its server says within these bounds, else the default.
const FRESH_S_MIN: u64 = 60;
const FRESH_S_MAX: u64 = 24 * 60 * 60;
const FRESH_S_DEFAULT: u64 = 10 * 60;

/// How often a file is looked at, milliseconds.
const FILE_FRESH_MS: u64 = 1_000;

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    File(Box<str>),
    Url(Box<str>),
}

impl Place {
    fn rules(&self) -> Rules {
        match self {
            Self::File(_) => freshness::FILE,
            Self::Url(_) => freshness::URL,
        }
    }

    /// For the log: of an address without what may be secret in it.
    fn shown(&self) -> &str {
        match self {
            Self::File(path) => path,
            Self::Url(url) => url.split('?').next().unwrap_or_default(),
        }
    }
}

/// All places that some issuer names.
pub(super) struct Sources {
    fetch: Arc<dyn JwksFetch>,
    generation: Arc<AtomicU64>,
    by_place: HashMap<Place, Arc<Source>>,
}

impl Sources {
    pub(super) fn new(fetch: Arc<dyn JwksFetch>, generation: Arc<AtomicU64>) -> Self {
        Self { fetch, generation, by_place: HashMap::new() }
    }

    /// The one source of `place`.
    pub(super) fn of(&mut self, place: Place) -> Arc<Source> {
        let make = |place: &Place| {
            Arc::new(Source {
                place: place.clone(),
                fetch: Arc::clone(&self.fetch),
                generation: Arc::clone(&self.generation),
                started: Instant::now(),
                state: ArcSwap::from_pointee(State::default()),
                flight: Mutex::new(None),
            })
        };
        Arc::clone(self.by_place.entry(place).or_insert_with_key(make))
    }

    /// Drops what no issuer holds any more.
    pub(super) fn forget_unused(&mut self) {
        self.by_place.retain(|_, source| Arc::strong_count(source) > 1);
    }
}

/// The keys of one place.
pub(super) struct Source {
    place: Place,
    fetch: Arc<dyn JwksFetch>,
    generation: Arc<AtomicU64>,
    /// The zero of this source's clock.
    started: Instant,
    /// Read by every request, written by one load at a time.
    state: ArcSwap<State>,
    /// Closed when the load that is under way has ended. Held for moments, and only where a load may be due.
    flight: Mutex<Option<watch::Receiver<()>>>,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    history: History,
    version: Option<Version>,
    problem: Option<Arc<str>>,
}

/// What tells one content of a place from another, so that equal ones are not taken for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    File {
        modified: Option<SystemTime>,
        bytes: u64,
    },
    /// SHA-256 of what was fetched.
    Body([u8; SHA256_OUTPUT_LEN]),
}

/// What a load found.
enum Loaded {
    Unchanged { fresh_ms: u64 },
    Changed { keys: KeySet, version: Version, fresh_ms: u64 },
}

impl State {
    /// What it becomes by a load at `now`.
    fn after(&self, loaded: Loaded, now: u64) -> Self {
        let history = |fresh_ms| History {
            loaded_at: Some(now),
            fresh_ms,
            failed_at: None,
            kid_refetch_at: self.history.kid_refetch_at,
        };
        match loaded {
            Loaded::Unchanged { fresh_ms } => {
                Self { history: history(fresh_ms), problem: None, ..self.clone() }
            }
            Loaded::Changed { keys, version, fresh_ms } => Self {
                keys: Some(Arc::new(keys)),
                history: history(fresh_ms),
                version: Some(version),
                problem: None,
            },
        }
    }

    /// What it becomes by a failure at `now`.
    fn after_failure(&self, problem: String, now: u64) -> Self {
        let history = History { failed_at: Some(now), ..self.history };
        Self { history, problem: Some(Arc::from(problem)), ..self.clone() }
    }
}

impl Source {
    /// The keys, waiting for them where there are none or they may be out of date.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>, TokenError> {
        let decision = self.state.load().history.decide(self.place.rules(), Need::Keys, self.now());
        match decision {
            Decision::Use | Decision::Refuse => {}
            Decision::UseAndLoad => drop(self.join_load(Need::Keys)),
            Decision::Load => wait(self.join_load(Need::Keys)).await,
        }
        let state = self.state.load();
        match &state.keys {
            Some(keys) if state.history.usable(self.now()) => Ok(Arc::clone(keys)),
            _ => {
                let problem = state.problem.as_deref().unwrap_or("they did not arrive in time");
                Err(TokenError::KeysUnavailable(problem.to_owned()))
            }
        }
    }

    /// Other keys than `seen`, which lack the one that a token names: none if there are no others now.
    pub(super) async fn keys_other_than(self: &Arc<Self>, seen: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        wait(self.join_load(Need::OtherKeys)).await;
        let state = self.state.load();
        state.keys.as_ref().filter(|keys| !Arc::ptr_eq(keys, seen)).cloned()
    }

    /// The load that is under way, or a new one if one is due.
    fn join_load(self: &Arc<Self>, need: Need) -> Option<watch::Receiver<()>> {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flight.as_ref().filter(|landing| landing.has_changed().is_ok()) {
            return Some(landing.clone());
        }
        *flight = None;
        let state = self.state.load_full();
        let now = self.now();
        if !matches!(
            state.history.decide(self.place.rules(), need, now),
            Decision::Load | Decision::UseAndLoad
        ) {
            return None;
        }
        if need == Need::OtherKeys {
            let mut state = State::clone(&state);
            state.history.kid_refetch_at = Some(now);
            self.state.store(Arc::new(state));
        }
        let (in_the_air, landing) = watch::channel(());
        *flight = Some(landing.clone());
        let source = Arc::clone(self);
        tokio::spawn(async move {
            source.load().await;
            drop(in_the_air);
        });
        Some(landing)
    }

    /// Loads and remembers the outcome.
    async fn load(&self) {
        let before = self.state.load_full();
        let outcome = tokio::time::timeout(Duration::from_millis(LOAD_MS_MAX), async {
            match &self.place {
                Place::File(path) => load_file(path, before.version).await,
                Place::Url(url) => self.load_url(url, before.version).await,
            }
        })
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {LOAD_MS_MAX} ms")));
        let state = match outcome {
            Ok(loaded) => before.after(loaded, self.now()),
            Err(problem) => {
                let place = self.place.shown();
                tracing::warn!(
                    place,
                    problem,
                    in_use = before.keys.is_some(),
                    "a key set could not be loaded"
                );
                before.after_failure(format!("{place}: {problem}"), self.now())
            }
        };
        let changed = state.version != before.version;
        self.state.store(Arc::new(state));
        // Not before the new keys are what everybody gets: a verdict by the old ones must not pass for a new one.
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    async fn load_url(&self, url: &str, known: Option<Version>) -> Result<Loaded, String> {
        let fetched = self.fetch.fetch(url).await?;
        let fresh_ms = fetched.max_age_s.unwrap_or(FRESH_S_DEFAULT).clamp(FRESH_S_MIN, FRESH_S_MAX) * 1_000;
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(digest::digest(&digest::SHA256, &fetched.body).as_ref());
        let version = Version::Body(digest);
        if known == Some(version) {
            return Ok(Loaded::Unchanged { fresh_ms });
        }
        let keys = parse(&fetched.body)?;
        Ok(Loaded::Changed { keys, version, fresh_ms })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Waits for a load's end, within bounds.
async fn wait(landing: Option<watch::Receiver<()>>) {
    if let Some(mut landing) = landing {
        // The error it ends with only says that the load is over; after the time-out, what there is must do.
        let _ = tokio::time::timeout(Duration::from_millis(WAIT_MS_MAX), landing.changed()).await;
    }
}

async fn load_file(path: &str, known: Option<Version>) -> Result<Loaded, String> {
    let problem = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is read: should it change in between, the next look finds another version.
    let metadata = tokio::fs::metadata(path).await.map_err(problem)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let version = Version::File { modified: metadata.modified().ok(), bytes: metadata.len() };
    if known == Some(version) {
        return Ok(Loaded::Unchanged { fresh_ms: FILE_FRESH_MS });
    }
    let file = tokio::fs::File::open(path).await.map_err(problem)?;
    let mut body = Vec::new();
    file.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut body).await.map_err(problem)?;
    Ok(Loaded::Changed { keys: parse(&body)?, version, fresh_ms: FILE_FRESH_MS })
}

fn parse(body: &[u8]) -> Result<KeySet, String> {
    if body.len() > JWKS_BYTES_MAX {
        return Err(format!("the key set has more than {JWKS_BYTES_MAX} bytes"));
    }
    KeySet::parse(std::str::from_utf8(body).map_err(|_| "the key set is not UTF-8".to_owned())?)
}
