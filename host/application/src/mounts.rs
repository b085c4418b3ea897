//! `files` of a component: what the guest may read, put together in folders that are mounted read-only.

use crate::error::StartError;
use std::fs;
use std::path::{Component as PathPart, Path, PathBuf};
use waggle_manifest::{Component, FileMount, Manifest};

/// The folders to mount: (folder on the host, path in the guest). Folders with a destination are mounted where they
/// are; everything else is copied into one folder under `assembled`, which becomes the guest's `/`.
///
/// # Errors
/// When an entry names nothing, or something outside the manifest's folder.
pub(crate) fn mounts(
    manifest: &Manifest,
    component: &Component,
    assembled: &Path,
) -> Result<Vec<(PathBuf, String)>, StartError> {
    let copies = Copies { manifest, component, root: assembled.join(&component.id.value) };
    let mut mounts = Vec::new();
    let mut copied = false;
    if copies.root.exists() {
        fs::remove_dir_all(&copies.root).map_err(|error| copies.refuse("files", error.to_string()))?;
    }
    for file in &component.files {
        match &file.value {
            FileMount::Placement { source, destination } => {
                let from = copies.inside(source)?;
                if from.is_dir() {
                    mounts.push((from, destination.clone()));
                } else {
                    copies.copy(&from, Path::new(destination.trim_start_matches('/')), source)?;
                    copied = true;
                }
            }
            FileMount::Pattern(pattern) => {
                copies.copy_pattern(pattern)?;
                copied = true;
            }
        }
    }
    if copied {
        mounts.insert(0, (copies.root, "/".to_owned()));
    }
    Ok(mounts)
}

struct Copies<'a> {
    manifest: &'a Manifest,
    component: &'a Component,
    root: PathBuf,
}

impl Copies<'_> {
    fn refuse(&self, what: &str, reason: impl Into<String>) -> StartError {
        StartError::Files {
            component: self.component.id.value.clone(),
            what: format!("`files` entry `{what}`"),
            reason: reason.into(),
        }
    }

    /// The path below the manifest's folder that an entry means.
    fn inside(&self, entry: &str) -> Result<PathBuf, StartError> {
        let path = Path::new(entry);
        let plain = path.components().all(|part| matches!(part, PathPart::Normal(_) | PathPart::CurDir));
        if !plain {
            return Err(self.refuse(entry, "leads out of the folder of spin.toml"));
        }
        let path = self.manifest.dir().join(path);
        if !path.exists() {
            return Err(self.refuse(entry, "there is no such file or folder"));
        }
        Ok(path)
    }

    fn copy_pattern(&self, pattern: &str) -> Result<(), StartError> {
        if !pattern.contains(['*', '?', '[']) {
            let from = self.inside(pattern)?;
            return self.copy_tree(&from, pattern);
        }
        let full = self.manifest.dir().join(pattern);
        let found = glob::glob(&full.to_string_lossy())
            .map_err(|error| self.refuse(pattern, format!("is no pattern: {error}")))?;
        for path in found.flatten() {
            self.copy_tree(&path, pattern)?;
        }
        Ok(())
    }

    /// Copies a file, or a folder with everything in it, to the same place below the guest's root.
    fn copy_tree(&self, from: &Path, entry: &str) -> Result<(), StartError> {
        if from.is_dir() {
            let listing = fs::read_dir(from).map_err(|error| self.refuse(entry, error.to_string()))?;
            for child in listing.flatten() {
                self.copy_tree(&child.path(), entry)?;
            }
            return Ok(());
        }
        let below = from.strip_prefix(self.manifest.dir()).unwrap_or(from).to_owned();
        self.copy(from, &below, entry)
    }

    fn copy(&self, from: &Path, below: &Path, entry: &str) -> Result<(), StartError> {
        if self.is_excluded(below) {
            return Ok(());
        }
        let to = self.root.join(below);
        let copied =
            to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, &to).map(drop));
        copied.map_err(|error| self.refuse(entry, error.to_string()))
    }

    fn is_excluded(&self, below: &Path) -> bool {
        self.component
            .exclude_files
            .iter()
            .filter_map(|pattern| glob::Pattern::new(&pattern.value).ok())
            .any(|pattern| pattern.matches_path(below))
    }
}
