//! Looks for damage that the engine would pass over when it opens: a list of tables that is not the one it wrote,
//! and files that are gone, which it would take for a store that is new.
//!
//! Everything else has checksums that the engine itself looks at: tables, their blocks, the journal's batches.

use crate::Error;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_128;

const KEYSPACES_DIRECTORY: &str = "keyspaces";
/// Names the newest list of tables of a keyspace, with its checksum.
const CURRENT_FILE: &str = "current";
/// The number of the list (8 bytes), its XXH3-128 (16 bytes), both little-endian, and the kind of checksum.
const CURRENT_BYTES: usize = 25;
const CHECKSUM_XXH3: u8 = 0;

/// Checks the engine's files in a store whose creation was completed.
pub(super) fn check(files: &Path) -> Result<(), Error> {
    let version = files.join("version");
    if !version.exists() {
        return Err(damaged(&version, "the file is missing"));
    }
    if !entries(files)?.iter().any(|path| path.extension().is_some_and(|extension| extension == "jnl")) {
        return Err(damaged(files, "its journal is missing"));
    }
    let keyspaces = entries(&files.join(KEYSPACES_DIRECTORY))?;
    keyspaces.iter().filter(|path| path.is_dir()).try_for_each(|keyspace| check_tables(keyspace))
}

fn check_tables(keyspace: &Path) -> Result<(), Error> {
    let current = keyspace.join(CURRENT_FILE);
    let content = read(&current)?;
    let parts = content.first_chunk::<CURRENT_BYTES>().filter(|_| content.len() == CURRENT_BYTES).and_then(
        |content| Some((content.first_chunk::<8>()?, content[8..].first_chunk::<16>()?, content[24])),
    );
    let Some((number, checksum, CHECKSUM_XXH3)) = parts else {
        return Err(damaged(&current, "it does not name a list of tables"));
    };
    let list = keyspace.join(format!("v{}", u64::from_le_bytes(*number)));
    if xxh3_128(&read(&list)?) != u128::from_le_bytes(*checksum) {
        return Err(damaged(&list, "its checksum is wrong"));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| missing_or(path, source))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(|source| missing_or(directory, source))
}

fn missing_or(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => damaged(path, "it is missing"),
        _ => Error::io(path, source),
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Damaged { path: path.to_path_buf(), reason: reason.to_owned() }
}
