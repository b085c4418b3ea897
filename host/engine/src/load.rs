//! From a file to something that can be instantiated: compile once, keep the result by content, link.
//!
//! This file holds the crate's only `unsafe`: wasmtime loads compiled code without checking it, so the cache folder
//! must be writable by the host's user alone. It is made with mode 0700, and an entry's name is a digest of the
//! component and of the compiler's settings.

use crate::bindings::whole::{Whole, WholePre};
use crate::error::LoadError;
use crate::metrics::FunctionMetrics;
use crate::state::InstanceState;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::{p2, p3};

/// A component, linked and ready to be instantiated.
pub(crate) struct Loaded {
    pre: ProxyPre<InstanceState>,
    /// Whether it takes requests that are whole.
    pub(crate) takes_whole: bool,
    /// Whether it came from the cache.
    pub(crate) cached: bool,
    /// As how many instances one of it counts: as many as it has linear memories, for each takes the room of an instance.
    pub(crate) weight: u32,
    /// The interfaces it imports, with their packages and versions.
    pub(crate) imports: Vec<String>,
    pub(crate) metrics: Arc<FunctionMetrics>,
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

    pub(crate) async fn instantiate(&self, store: &mut Store<InstanceState>) -> wasmtime::Result<Exports> {
        let pre = match &self.pre {
            ProxyPre::P3(pre) if self.takes_whole => pre,
            pre => return Ok(Exports { proxy: pre.instantiate_async(store).await?, whole: None }),
        };
        let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
        let proxy = Proxy::P3(p3::bindings::Service::new(&mut *store, &instance)?);
        Ok(Exports { proxy, whole: Some(Whole::new(&mut *store, &instance)?) })
    }
}

/// By what an instance takes requests.
pub(crate) struct Exports {
    pub(crate) proxy: Proxy,
    /// For those that are whole.
    pub(crate) whole: Option<Whole>,
}

/// The components of this process, by their content: functions that share one share its code.
pub(crate) struct Components {
    /// Where compiled code is kept for the next start.
    cache: Option<PathBuf>,
    compiled: Mutex<HashMap<String, Arc<OnceLock<Compiled>>>>,
}

/// A component and whether it came from the cache, or why there is none.
type Compiled = Result<(Component, bool), String>;

impl Components {
    pub(crate) fn new(cache: Option<PathBuf>) -> Self {
        Self { cache, compiled: Mutex::default() }
    }

    /// Compiles `wasm`, or takes what was compiled before. Who asks for the same one meanwhile waits for it.
    fn component(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Compiled {
        let name = entry_name(engine, wasm);
        let entry = self.cache.as_deref().map(|folder| folder.join(&name));
        let slot = {
            let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(compiled.entry(name).or_default())
        };
        slot.get_or_init(|| compile(engine, wasm, entry.as_deref()).map_err(|error| format!("{error:#}")))
            .clone()
    }
}

/// Compiles a component, or takes its code from `folder`, where it is kept for the next time. True when it came from there.
/// The folder is made if need be, for this user alone.
///
/// # Errors
/// What the compiler says.
pub fn compile_cached(
    engine: &wasmtime::Engine,
    wasm: &[u8],
    folder: Option<&Path>,
) -> wasmtime::Result<(Component, bool)> {
    let entry = folder.map(|folder| folder.join(entry_name(engine, wasm)));
    compile(engine, wasm, entry.as_deref())
}

/// Loads the component of `function` from `path`.
pub(crate) fn load(
    linker: &Linker<InstanceState>,
    function: &str,
    path: &Path,
    components: &Components,
) -> Result<Loaded, LoadError> {
    let wasm = fs::read(path).map_err(|source| LoadError::Read {
        function: function.into(),
        path: path.into(),
        source,
    })?;
    check_kind(function, path, &wasm)?;
    let (component, cached) = components
        .component(linker.engine(), &wasm)
        .map_err(|reason| LoadError::Compile { function: function.into(), path: path.into(), reason })?;
    let pre = link(linker, function, path, &component)?;
    let takes_whole = match &pre {
        ProxyPre::P3(service) => WholePre::new(service.instance_pre().clone()).is_ok(),
        ProxyPre::P2(_) => false,
    };
    let memories = component.resources_required().map_or(MEMORIES_PER_COMPONENT_MAX, |all| all.num_memories);
    let kind = component.component_type();
    let imports = kind.imports(linker.engine()).map(|(name, _item)| name.to_owned()).collect();
    Ok(Loaded { pre, takes_whole, cached, weight: memories.max(1), imports, metrics: Arc::default() })
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
    entry: Option<&Path>,
) -> wasmtime::Result<(Component, bool)> {
    let Some(entry) = entry else {
        return Ok((Component::from_binary(engine, wasm)?, false));
    };
    if entry.is_file() {
        match deserialize(engine, entry) {
            Ok(component) => return Ok((component, true)),
            Err(error) => {
                tracing::warn!(entry = %entry.display(), %error, "a compiled component cannot be used; compiling again");
            }
        }
    }
    let compiled = engine.precompile_component(wasm)?;
    if let Err(error) = keep(entry, &compiled) {
        tracing::warn!(entry = %entry.display(), %error, "a compiled component cannot be kept; the next start compiles again");
        return Ok((Component::from_binary(engine, wasm)?, false));
    }
    deserialize(engine, entry).map(|component| (component, false))
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

/// Writes beside the entry and renames, so that no reader, of this process or of another, sees half of it: the file
/// has a name of its own even when several hosts keep the same entry.
fn keep(entry: &Path, compiled: &[u8]) -> std::io::Result<()> {
    let folder = entry.parent().unwrap_or(Path::new("."));
    private_folder(folder)?;
    let mut partial = tempfile::NamedTempFile::new_in(folder)?;
    partial.write_all(compiled)?;
    partial.persist(entry)?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const HOSTS: usize = 8;

    fn component() -> Vec<u8> {
        let functions = "(func (result i32) i32.const 1)".repeat(2_000);
        wat::parse_str(format!("(component (core module {functions}))")).unwrap()
    }

    #[test]
    fn hosts_that_keep_the_same_component_at_once_never_read_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, wasm) = (wasmtime::Engine::default(), component());
        thread::scope(|scope| {
            let hosts = [(); HOSTS].map(|()| Components::new(Some(folder.path().join("compiled"))));
            let compiling = hosts.map(|host| {
                let (engine, wasm) = (&engine, &wasm);
                scope.spawn(move || host.component(engine, wasm).map(|_component| ()))
            });
            for host in compiling {
                host.join().unwrap().unwrap();
            }
        });
        let kept: Vec<_> = fs::read_dir(folder.path().join("compiled")).unwrap().collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
    }

    #[test]
    fn a_component_is_compiled_once_kept_and_compiled_again_when_the_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, wasm) = (wasmtime::Engine::default(), component());
        let host = || Components::new(Some(folder.path().into()));
        let first = host();
        assert!(!first.component(&engine, &wasm).unwrap().1);
        assert_eq!(first.compiled.lock().unwrap().len(), 1);
        assert!(host().component(&engine, &wasm).unwrap().1);

        let entry = folder.path().join(entry_name(&engine, &wasm));
        for damage in [&b""[..], b"not compiled code"] {
            // A file of its own: what was loaded is mapped, and a mapped file must not be cut short.
            fs::remove_file(&entry).unwrap();
            fs::write(&entry, damage).unwrap();
            assert!(!host().component(&engine, &wasm).unwrap().1);
            assert!(host().component(&engine, &wasm).unwrap().1);
        }
    }
}
