//! This crate's slice of the configuration: one `[key_value_store.NAME]` table, as Spin's runtime configuration has
//! it, and how a store is opened from it.

use crate::{
    Embedded, Error, RedisStore, Store, StoreOptions,
    duration::parse_time_to_live,
    redis_url::{RedisUrl, without_password},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One `[key_value_store.NAME]` table as it is written; [`StoreConfig::settings`] checks it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "type", rename_all = "snake_case")]
pub enum StoreConfig {
    /// A directory of this machine; `type = "embedded"`, or `"spin"` as Spin calls its own.
    #[serde(alias = "spin")]
    Embedded {
        /// The store's directory; without it the default one, which several labels can share.
        #[serde(default)]
        path: Option<PathBuf>,
        /// How long a key lives after it was written, as `"30m"` or `"7d"`; without it for ever.
        #[serde(default)]
        time_to_live: Option<String>,
    },
    /// A Redis or Valkey server.
    #[serde(alias = "valkey")]
    Redis {
        /// `redis://[user[:password]@]host[:port][/database]`.
        url: String,
        /// As above.
        #[serde(default)]
        time_to_live: Option<String>,
    },
}

impl Default for StoreConfig {
    /// What a label has that the configuration does not name: the embedded store in the default directory.
    fn default() -> Self {
        Self::Embedded { path: None, time_to_live: None }
    }
}

impl fmt::Debug for StoreConfig {
    /// Without the password in the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { path, time_to_live } => {
                f.debug_struct("Embedded").field("path", path).field("time_to_live", time_to_live).finish()
            }
            Self::Redis { url, time_to_live } => f
                .debug_struct("Redis")
                .field("url", &without_password(url))
                .field("time_to_live", time_to_live)
                .finish(),
        }
    }
}

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Where the data is.
    pub backend: Backend,
    /// What holds for the label.
    pub options: StoreOptions,
}

/// Where a store's data is.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A directory; `None`: the default one.
    Embedded(Option<PathBuf>),
    /// A server.
    Redis(RedisUrl),
}

impl StoreConfig {
    /// The same place, where keys live until they are deleted.
    #[must_use]
    pub fn lasting(&self) -> Self {
        match self {
            Self::Embedded { path, .. } => Self::Embedded { path: path.clone(), time_to_live: None },
            Self::Redis { url, .. } => Self::Redis { url: url.clone(), time_to_live: None },
        }
    }

    /// Checks every field without opening anything.
    ///
    /// # Errors
    /// [`Error::Config`], which names the field.
    pub fn settings(&self) -> Result<StoreSettings, Error> {
        let (backend, time_to_live) = match self {
            Self::Embedded { path, time_to_live } => {
                if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                    return Err(Error::Config { field: "path", reason: "is empty; name a directory".into() });
                }
                (Backend::Embedded(path.clone()), time_to_live)
            }
            Self::Redis { url, time_to_live } => (Backend::Redis(RedisUrl::parse(url)?), time_to_live),
        };
        let time_to_live = time_to_live.as_deref().map(parse_time_to_live).transpose()?;
        Ok(StoreSettings { backend, options: StoreOptions { time_to_live } })
    }
}

/// Opens stores, with one engine per directory however many labels use it.
pub struct Opener {
    default_directory: PathBuf,
    engines: HashMap<PathBuf, Embedded>,
}

impl Opener {
    /// `default_directory` is used by configurations that name none; it is made when the first one needs it.
    pub fn new(default_directory: impl Into<PathBuf>) -> Self {
        Self { default_directory: default_directory.into(), engines: HashMap::new() }
    }

    /// Opens the store of one label.
    ///
    /// # Errors
    /// Those of [`StoreConfig::settings`], [`Embedded::open`] and [`RedisStore::connect`].
    pub async fn open(&mut self, config: &StoreConfig) -> Result<Arc<dyn Store>, Error> {
        let StoreSettings { backend, options } = config.settings()?;
        match backend {
            Backend::Embedded(path) => {
                let path = path.unwrap_or_else(|| self.default_directory.clone());
                Ok(self.engine(path).await?.store(options))
            }
            Backend::Redis(url) => Ok(Arc::new(RedisStore::connect_to(&url, options).await?)),
        }
    }

    async fn engine(&mut self, path: PathBuf) -> Result<Embedded, Error> {
        // Two ways to write the same directory must find the same engine.
        let known = fs::canonicalize(&path).ok().and_then(|path| self.engines.get(&path));
        if let Some(engine) = known {
            return Ok(engine.clone());
        }
        let opening = path.clone();
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&opening)).await;
        let engine = opened.unwrap_or(Err(Error::Closed))?;
        let path = fs::canonicalize(&path).map_err(|source| Error::io(path, source))?;
        self.engines.insert(path, engine.clone());
        Ok(engine)
    }
}

/// Opens one store. Labels that share a directory must be opened by one [`Opener`].
///
/// # Errors
/// Those of [`Opener::open`].
pub async fn open(config: &StoreConfig, default_directory: &Path) -> Result<Arc<dyn Store>, Error> {
    Opener::new(default_directory).open(config).await
}
