//! The `[vector]` slice of the runtime configuration.

use crate::{IndexName, bounds::check_tenant};
use serde::Deserialize;
use std::{
    fmt,
    num::NonZero,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

/// Indexes that may be named to be read into memory at the start.
const PREWARM_MAX: usize = 10_000;

/// How vectors are kept in memory. On disk they are always whole, and what is found is ranked by those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// A byte for each number: a quarter of the memory, and faster.
    #[default]
    Int8,
    /// Four bytes for each number.
    None,
}

/// Where indexes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In the state folder of this host.
    #[default]
    Embedded,
    /// In PostgreSQL with pgvector; `[vector.postgres]` says where.
    Postgres,
}

/// The `[vector.postgres]` table: a PostgreSQL 14 or later with pgvector 0.5 or later.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgresql://[user[:password]@]host[:port]/database[?sslmode=disable|prefer|require]`. With `require` the server's
    /// certificate is checked; `prefer`, the default, checks it as well where the server speaks TLS.
    pub url: String,
    /// A file that holds the password, in place of one in the address; the end of its last line is left out.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of those who may vouch for the server; without it those that browsers trust.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// The schema of the tables, which is made if it is not there: 1 to 40 of `a-z 0-9 _`, beginning with a letter.
    #[serde(default = "schema")]
    pub schema: String,
    /// Connections at once, at most. 1 to 1,000.
    #[serde(default = "connections_max")]
    pub connections_max: u32,
    /// How long a call waits for a connection, milliseconds. 1 to 600,000.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// How long the server may work on one statement, milliseconds. 1 to 600,000.
    #[serde(default = "statement_timeout_ms")]
    pub statement_timeout_ms: u32,
    /// From so many chunks on an index gets a graph (HNSW of pgvector); below, each vector is compared. 1 to 10,000,000.
    #[serde(default = "graph_chunks_min")]
    pub graph_chunks_min: u32,
}

fn schema() -> String {
    "waggle".to_owned()
}

fn connections_max() -> u32 {
    16
}

fn connect_timeout_ms() -> u32 {
    5_000
}

fn statement_timeout_ms() -> u32 {
    30_000
}

fn graph_chunks_min() -> u32 {
    20_000
}

impl fmt::Debug for PostgresConfig {
    /// Without the address, which may hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("PostgresConfig");
        shown.field("schema", &self.schema).field("connections_max", &self.connections_max);
        shown.finish_non_exhaustive()
    }
}

impl PostgresConfig {
    /// That of a server at `url`, with the defaults for all else.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password_file: None,
            roots_file: None,
            schema: schema(),
            connections_max: connections_max(),
            connect_timeout_ms: connect_timeout_ms(),
            statement_timeout_ms: statement_timeout_ms(),
            graph_chunks_min: graph_chunks_min(),
        }
    }

    fn validate(&self) -> Result<(), String> {
        const SCHEMA_BYTES_MAX: usize = 40;
        within("postgres.connections_max", self.connections_max.into(), 1, 1_000)?;
        within("postgres.connect_timeout_ms", self.connect_timeout_ms.into(), 1, 600_000)?;
        within("postgres.statement_timeout_ms", self.statement_timeout_ms.into(), 1, 600_000)?;
        within("postgres.graph_chunks_min", self.graph_chunks_min.into(), 1, 10_000_000)?;
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = self.schema.starts_with(|first: char| first.is_ascii_lowercase())
            && self.schema.len() <= SCHEMA_BYTES_MAX
            && self.schema.bytes().all(is_allowed);
        if is_name {
            return Ok(());
        }
        Err(format!(
            "`postgres.schema` is `{}`; it must be 1 to {SCHEMA_BYTES_MAX} of the characters a-z 0-9 _ and begin with a letter",
            self.schema
        ))
    }
}

/// How indexes are kept. Every field has a default, so an empty `[vector]` is valid.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VectorConfig {
    /// Where they are kept. All fields below but `postgres` are for the embedded ones.
    pub backend: Backend,
    /// The server, if `backend` is `postgres`.
    pub postgres: Option<PostgresConfig>,
    /// About how much memory the indexes that are loaded may take together, bytes. Over it those that were used least
    /// lately are put away, but never one that is being used. 1 MiB to 16 TiB.
    pub memory_bytes_max: u64,
    /// Indexes that are read into memory at the start, each as `TENANT/INDEX`. At most 10,000.
    pub prewarm: Vec<String>,
    /// Up to so many chunks, each vector is compared; above, a graph leads to the nearest. 0 to 10,000,000.
    pub exact_chunks_max: u32,
    /// How vectors are kept in memory.
    pub quantization: Quantization,
    /// Neighbours of each vector in the graph (M of HNSW; the lowest layer has twice as many). 4 to 64.
    pub connectivity: u32,
    /// How many near vectors are looked at when the graph is built (efConstruction of HNSW). 16 to 2,000.
    pub expansion_build: u32,
    /// How many near vectors are looked at when the graph is searched, at least (ef of HNSW). 16 to 2,000.
    pub expansion_search: u32,
    /// Threads that search, and threads that build in the background; 0: as many as there are processors, and half as many.
    pub threads_max: u32,
}

impl Default for VectorConfig {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            postgres: None,
            memory_bytes_max: 256 * 1024 * 1024,
            prewarm: Vec::new(),
            exact_chunks_max: 20_000,
            quantization: Quantization::Int8,
            connectivity: 16,
            expansion_build: 128,
            expansion_search: 64,
            threads_max: 0,
        }
    }
}

/// An index that is to be read into memory at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prewarm {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub index: IndexName,
}

/// What [`Embedded`](crate::Embedded) is opened with; made by [`VectorConfig::embedded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// See [`VectorConfig::memory_bytes_max`].
    pub memory_bytes_max: u64,
    /// See [`VectorConfig::exact_chunks_max`].
    pub exact_chunks_max: u32,
    /// See [`VectorConfig::quantization`].
    pub quantization: Quantization,
    /// See [`VectorConfig::connectivity`].
    pub connectivity: u32,
    /// See [`VectorConfig::expansion_build`].
    pub expansion_build: u32,
    /// See [`VectorConfig::expansion_search`].
    pub expansion_search: u32,
    /// Searches that compute at once, at least 1.
    pub search_threads: usize,
    /// Threads that build one graph, at least 1.
    pub build_threads: usize,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        VectorConfig::default().embedded()
    }
}

impl VectorConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        const MIB: u64 = 1024 * 1024;
        match (self.backend, &self.postgres) {
            (Backend::Postgres, None) => {
                return Err("`backend` is `postgres`, but there is no `postgres.url`".to_owned());
            }
            (_, Some(postgres)) => postgres.validate()?,
            (Backend::Embedded, None) => {}
        }
        within("memory_bytes_max", self.memory_bytes_max, MIB, MIB * MIB * 16)?;
        within("exact_chunks_max", self.exact_chunks_max.into(), 0, 10_000_000)?;
        within("connectivity", self.connectivity.into(), 4, 64)?;
        within("expansion_build", self.expansion_build.into(), 16, 2_000)?;
        within("expansion_search", self.expansion_search.into(), 16, 2_000)?;
        within("threads_max", self.threads_max.into(), 0, 1_024)?;
        if self.prewarm.len() > PREWARM_MAX {
            return Err(format!("`prewarm` has {} indexes; it may have {PREWARM_MAX}", self.prewarm.len()));
        }
        self.prewarm.iter().try_for_each(|text| parse_prewarm(text).map(|_parsed| ()))
    }

    /// The indexes of [`VectorConfig::prewarm`], without those that [`VectorConfig::validate`] refuses.
    #[must_use]
    pub fn prewarm(&self) -> Vec<Prewarm> {
        self.prewarm.iter().filter_map(|text| parse_prewarm(text).ok()).collect()
    }

    /// The same, with its relative paths below `folder`.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        if let Some(postgres) = &mut self.postgres {
            for path in [&mut postgres.password_file, &mut postgres.roots_file].into_iter().flatten() {
                *path = folder.join(&*path);
            }
        }
        self
    }

    /// What the embedded backend is opened with.
    #[must_use]
    pub fn embedded(&self) -> EmbeddedConfig {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let (search_threads, build_threads) = match self.threads_max as usize {
            0 => (processors, processors.div_ceil(2)),
            given => (given, given),
        };
        EmbeddedConfig {
            memory_bytes_max: self.memory_bytes_max,
            exact_chunks_max: self.exact_chunks_max,
            quantization: self.quantization,
            connectivity: self.connectivity,
            expansion_build: self.expansion_build,
            expansion_search: self.expansion_search,
            search_threads,
            build_threads,
        }
    }
}

fn parse_prewarm(text: &str) -> Result<Prewarm, String> {
    let wrong = |why: &str| format!("`prewarm` names `{text}`: {why}");
    // An index's name has no slash, a tenant's id may have one.
    let (tenant, index) =
        text.rsplit_once('/').ok_or_else(|| wrong("it must be a tenant and an index, as `TENANT/INDEX`"))?;
    check_tenant(tenant).map_err(|error| wrong(&error.to_string()))?;
    let index = IndexName::parse(index).map_err(|error| wrong(&error.to_string()))?;
    Ok(Prewarm { tenant: tenant.to_owned(), index })
}

fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{field}` is {value}; it must be from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default_and_valid() {
        let parsed: VectorConfig = toml::from_str("").unwrap();
        assert_eq!(parsed, VectorConfig::default());
        assert_eq!(parsed.validate(), Ok(()));
    }

    #[test]
    fn every_field_is_read_and_no_other() {
        let text = "memory_bytes_max = 2000000\nprewarm = [\"acme/docs\"]\nexact_chunks_max = 5\n\
                    quantization = \"none\"\nconnectivity = 8\nexpansion_build = 20\nexpansion_search = 30\nthreads_max = 3";
        let parsed: VectorConfig = toml::from_str(text).unwrap();
        assert_eq!(parsed.validate(), Ok(()));
        let index = IndexName::parse("docs").unwrap();
        assert_eq!(parsed.prewarm(), [Prewarm { tenant: "acme".into(), index }]);
        let embedded = parsed.embedded();
        assert_eq!((embedded.quantization, embedded.connectivity), (Quantization::None, 8));
        assert_eq!((embedded.search_threads, embedded.build_threads), (3, 3));
        assert!(toml::from_str::<VectorConfig>("memory = 1").is_err());
        assert!(toml::from_str::<VectorConfig>("quantization = \"int4\"").is_err());
    }

    #[test]
    fn a_server_has_an_address_and_its_password_is_never_shown() {
        let text = "backend = \"postgres\"\n[postgres]\nurl = \"postgresql://waggle:hunter2@db/x\"\nschema = \"of_waggle\"";
        let parsed: VectorConfig = toml::from_str(text).unwrap();
        assert_eq!(parsed.validate(), Ok(()));
        assert_eq!(parsed.backend, Backend::Postgres);
        assert!(!format!("{parsed:?}").contains("hunter2"));
        let with_file = "postgres = { url = \"x\", password_file = \"keys/p\" }";
        let below = toml::from_str::<VectorConfig>(with_file).unwrap().below(Path::new("/etc/waggle"));
        assert_eq!(below.postgres.unwrap().password_file.unwrap(), Path::new("/etc/waggle/keys/p"));
        let check = |text: &str, expected: &str| {
            let error = toml::from_str::<VectorConfig>(text).unwrap().validate().unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("backend = \"postgres\"", "no `postgres.url`");
        check("postgres = { url = \"x\", schema = \"a.b\" }", "`postgres.schema` is `a.b`");
        check("postgres = { url = \"x\", connections_max = 0 }", "`postgres.connections_max` is 0");
        assert!(toml::from_str::<VectorConfig>("backend = \"milvus\"").is_err());
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let check = |config: VectorConfig, expected: &str| {
            let error = config.validate().unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        let with = VectorConfig::default;
        check(VectorConfig { connectivity: 3, ..with() }, "`connectivity` is 3; it must be from 4 to 64");
        check(VectorConfig { memory_bytes_max: 1, ..with() }, "`memory_bytes_max` is 1;");
        check(VectorConfig { prewarm: vec!["acme".into()], ..with() }, "as `TENANT/INDEX`");
        check(VectorConfig { prewarm: vec!["acme/.x".into()], ..with() }, "an index's name has");
        check(VectorConfig { prewarm: vec!["/x".into()], ..with() }, "the tenant's id is empty");
    }
}
