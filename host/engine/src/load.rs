//! From a file to something that can be instantiated: compile once, keep the result by content, link.
//!
//! This file holds the crate's only `unsafe`: wasmtime loads compiled code without checking it, so the cache folder
//! must be writable by the host's user alone. It is made with mode 0700, and an entry's name is a digest of the
//! component and of the compiler's settings.

use crate::error::LoadError;
use crate::state::InstanceState;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

/// A component, linked and ready to be instantiated.
pub(crate) struct Loaded {
    pub(crate) pre: ProxyPre<InstanceState>,
    /// Whether it came from the cache.
    pub(crate) cached: bool,
    /// As how many instances one of it counts: as many as it has linear memories, for each takes the room of an instance.
    pub(crate) weight: u32,
}

/// Linear memories one component may have.
pub(crate) const MEMORIES_PER_COMPONENT_MAX: u32 = 16;
/// Tables one component may have.
pub(crate) const TABLES_PER_COMPONENT_MAX: u32 = 8;
/// Core instances one component may be made of.
pub(crate) const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 64;

impl Loaded {
    /// Whether one instance may serve several requests (WASI 0.3).
    pub(crate) fn is_reusable(&self) -> bool {
        matches!(self.pre, ProxyPre::P3(_))
    }
}

/// Loads the component of `function` from `path`, keeping compiled code in `cache` if that is given.
pub(crate) fn load(
    linker: &Linker<InstanceState>,
    function: &str,
    path: &Path,
    cache: Option<&Path>,
) -> Result<Loaded, LoadError> {
    let wasm = fs::read(path).map_err(|source| LoadError::Read {
        function: function.into(),
        path: path.into(),
        source,
    })?;
    check_kind(function, path, &wasm)?;
    let (component, cached) = compile(linker.engine(), &wasm, cache).map_err(|error| LoadError::Compile {
        function: function.into(),
        path: path.into(),
        reason: format!("{error:#}"),
    })?;
    let pre = link(linker, function, path, &component)?;
    let memories = component.resources_required().map_or(MEMORIES_PER_COMPONENT_MAX, |all| all.num_memories);
    Ok(Loaded { pre, cached, weight: memories.max(1) })
}

/// The first eight bytes tell components, core modules and everything else apart.
fn check_kind(function: &str, path: &Path, wasm: &[u8]) -> Result<(), LoadError> {
    let what = match wasm.get(..8) {
        Some([0, b'a', b's', b'm', _, 0, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            "is a core WebAssembly module, not a component; build it for a component target such as wasm32-wasip2"
                .to_owned()
        }
        Some([0, b'a', b's', b'm', ..]) => "is WebAssembly of a version this host does not know".to_owned(),
        Some(_) => "is not WebAssembly: it does not begin with `\\0asm`".to_owned(),
        None => format!("is not WebAssembly: it has only {} bytes", wasm.len()),
    };
    Err(LoadError::NotAComponent { function: function.into(), path: path.into(), what })
}

fn compile(
    engine: &wasmtime::Engine,
    wasm: &[u8],
    cache: Option<&Path>,
) -> wasmtime::Result<(Component, bool)> {
    let Some(folder) = cache else {
        return Ok((Component::from_binary(engine, wasm)?, false));
    };
    let entry = folder.join(entry_name(engine, wasm));
    if entry.is_file() {
        match deserialize(engine, &entry) {
            Ok(component) => return Ok((component, true)),
            Err(error) => {
                tracing::warn!(entry = %entry.display(), %error, "a compiled component cannot be used; compiling again");
            }
        }
    }
    let compiled = engine.precompile_component(wasm)?;
    match keep(folder, &entry, &compiled) {
        Ok(()) => Ok((deserialize(engine, &entry)?, false)),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "compiled components cannot be kept; the next start compiles again");
            Ok((Component::from_binary(engine, wasm)?, false))
        }
    }
}

/// The digest of the component, and of everything about the compiler that matters to its output.
fn entry_name(engine: &wasmtime::Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let mut name = String::with_capacity(96);
    for byte in Sha256::digest(wasm) {
        let _ = write!(name, "{byte:02x}");
    }
    let _ = write!(name, "-{:016x}.cwasm", settings.finish());
    name
}

/// Writes beside the entry and renames, so that a reader never sees half of it.
fn keep(folder: &Path, entry: &Path, compiled: &[u8]) -> std::io::Result<()> {
    private_folder(folder)?;
    let partial: PathBuf = entry.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, compiled)?;
    fs::rename(&partial, entry)
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[expect(unsafe_code, reason = "wasmtime's loader of compiled code; see the head of this file")]
fn deserialize(engine: &wasmtime::Engine, entry: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by `keep` into a folder only this user can write to, by a compiler with the same
    // settings (they are part of its name); wasmtime checks its own version and settings once more.
    unsafe { Component::deserialize_file(engine, entry) }
}

fn link(
    linker: &Linker<InstanceState>,
    function: &str,
    path: &Path,
    component: &Component,
) -> Result<ProxyPre<InstanceState>, LoadError> {
    let pre = linker.instantiate_pre(component).map_err(|error| LoadError::Link {
        function: function.into(),
        path: path.into(),
        reason: format!("{error:#}"),
    })?;
    if let Ok(service) = p3::bindings::ServicePre::new(pre.clone()) {
        return Ok(ProxyPre::P3(service));
    }
    if let Ok(proxy) = p2::bindings::ProxyPre::new(pre) {
        return Ok(ProxyPre::P2(proxy));
    }
    let exports: Vec<String> = component
        .component_type()
        .exports(linker.engine())
        .map(|(name, _item)| format!("`{name}`"))
        .collect();
    let exports = if exports.is_empty() { "no exports".to_owned() } else { exports.join(", ") };
    Err(LoadError::NoHandler { function: function.into(), path: path.into(), exports })
}
