//! What is in force of one tenant's tools at one moment: made whole, never changed.

use crate::digest::Digest;
use crate::{Function, Grants, Kind, Limits, Tool};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The tools of a tenant that are accepted and enabled.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Changes with every change of any of them, and is the same on every host; opaque, of characters that an `ETag` may
    /// have.
    pub revision: String,
    /// By their names.
    pub tools: BTreeMap<String, Arc<AcceptedTool>>,
    /// What `GET /v1/tools` of `tools.waggle.internal` answers: `{"revision", "data": […]}`, JSON.
    pub json: Bytes,
}

/// A tool that may be called, as it was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedTool {
    /// Its name.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits of what was accepted; of a component, by which its bytes are found.
    pub digest: String,
    /// What it is.
    pub kind: Kind,
    /// What it can do.
    pub functions: Vec<Function>,
    /// What it may reach.
    pub grants: Grants,
    /// What a call may use up.
    pub limits: Limits,
}

impl AcceptedTool {
    /// What it can do under this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// A tool as functions are told of it: without its grants but for where it may reach, which they clean its output by.
#[derive(Serialize)]
struct Told<'t> {
    name: &'t str,
    description: &'t str,
    version: &'t str,
    digest: &'t str,
    #[serde(flatten)]
    kind: &'t Kind,
    functions: &'t [Function],
    time_ms_max: u64,
    output_bytes_max: u64,
    outbound: &'t [String],
}

#[derive(Serialize)]
struct ToldRegistry<'t> {
    revision: &'t str,
    data: &'t [Told<'t>],
}

impl Snapshot {
    /// What is in force of these tools.
    #[must_use]
    pub fn new<'t>(tools: impl Iterator<Item = &'t Tool>) -> Self {
        let mut accepted = BTreeMap::new();
        let mut told = Vec::new();
        for tool in tools.filter(|tool| tool.enabled) {
            let Some(version) = &tool.accepted else { continue };
            told.push(Told {
                name: &tool.name,
                description: &version.description,
                version: &version.version,
                digest: &version.digest,
                kind: &version.kind,
                functions: &version.functions,
                time_ms_max: version.limits.time_ms_max,
                output_bytes_max: version.limits.output_bytes_max,
                outbound: &version.grants.outbound,
            });
            let one = AcceptedTool {
                name: tool.name.clone(),
                digest: version.digest.clone(),
                kind: version.kind.clone(),
                functions: version.functions.clone(),
                grants: version.grants.clone(),
                limits: version.limits,
            };
            accepted.insert(tool.name.clone(), Arc::new(one));
        }
        told.sort_unstable_by_key(|one| one.name);
        // Of string keys and JSON only: it cannot fail to be written.
        let data = serde_json::to_vec(&told).unwrap_or_default();
        // Grants and limits that are not told must move the revision on as well, for whoever keeps by it.
        let hidden: Vec<_> = accepted.values().map(|one| (&one.grants, &one.limits)).collect();
        let hidden = serde_json::to_vec(&hidden).unwrap_or_default();
        let revision = Digest::of_parts(&[&data, &hidden]).short();
        let registry = ToldRegistry { revision: &revision, data: &told };
        let json = Bytes::from(serde_json::to_vec(&registry).unwrap_or_default());
        Self { revision, tools: accepted, json }
    }

    /// That of a tenant without tools.
    #[must_use]
    pub fn empty() -> Arc<Self> {
        static EMPTY: LazyLock<Arc<Snapshot>> = LazyLock::new(|| Arc::new(Snapshot::new(std::iter::empty())));
        Arc::clone(&EMPTY)
    }
}
