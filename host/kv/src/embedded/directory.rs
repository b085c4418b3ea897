//! The directory of a store: who uses it, which format it has, and where the engine's files lie.
//!
//! ```text
//! owner        locked for as long as the store is open; holds the process id of who has it open
//! waggle-kv    20 bytes: magic, format version, state, checksum (see `Header`)
//! engine/      the engine's files
//! ```
//! The header is written first with the state "creating" and again as "ready" when the engine's files are complete,
//! so a store whose creation was cut short is told from a damaged one and is begun again.

use super::integrity;
use crate::Error;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The format this program writes and the newest it reads.
const FORMAT_VERSION: u32 = 1;
const HEADER_FILE: &str = "waggle-kv";
const HEADER_NEW_FILE: &str = "waggle-kv.new";
const OWNER_FILE: &str = "owner";
const ENGINE_DIRECTORY: &str = "engine";
/// What may lie in a directory before the header does.
const KNOWN_NAMES: [&str; 4] = [HEADER_FILE, HEADER_NEW_FILE, OWNER_FILE, ENGINE_DIRECTORY];
/// Bytes read of the owner file; a process id has fewer.
const OWNER_BYTES_MAX: u64 = 32;

/// A directory that this process has locked. Dropping it lets others in.
pub(super) struct Directory {
    path: PathBuf,
    is_ready: bool,
    _owner: File,
}

impl Directory {
    /// Creates or checks the directory and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if path.exists() && !path.is_dir() {
            let reason = "it is a file, and a store is a directory".into();
            return Err(Error::NotAStore { path: path.to_path_buf(), reason });
        }
        create_directory(path).map_err(|source| Error::io(path, source))?;
        refuse_foreign_files(path)?;
        let owner = lock(path)?;
        let is_ready = match read_header(path)? {
            Some(state) => state == State::Ready,
            None if path.join(ENGINE_DIRECTORY).exists() => {
                return Err(Error::Damaged {
                    path: path.join(HEADER_FILE),
                    reason: "the file is missing".into(),
                });
            }
            None => false,
        };
        let directory = Self { path: path.to_path_buf(), is_ready, _owner: owner };
        if is_ready {
            integrity::check(&directory.engine_files())?;
        } else {
            directory.begin()?;
        }
        Ok(directory)
    }

    /// Where the engine keeps its files.
    pub(super) fn engine_files(&self) -> PathBuf {
        self.path.join(ENGINE_DIRECTORY)
    }

    /// Records that the engine's files are complete.
    pub(super) fn mark_ready(&self) -> Result<(), Error> {
        if self.is_ready { Ok(()) } else { write_header(&self.path, State::Ready) }
    }

    /// Begins a new store, throwing away what a creation that was cut short has left.
    fn begin(&self) -> Result<(), Error> {
        write_header(&self.path, State::Creating)?;
        let files = self.engine_files();
        match fs::remove_dir_all(&files) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(files, error)),
            _ => Ok(()),
        }
    }
}

/// Makes the directory and those above it, durably: a store that is lost with its directory was never durable.
fn create_directory(path: &Path) -> io::Result<()> {
    let made: Vec<&Path> = path.ancestors().take_while(|part| !part.exists()).collect();
    fs::create_dir_all(path)?;
    for parent in made.into_iter().filter_map(Path::parent) {
        let is_here = parent.as_os_str().is_empty();
        sync_directory(if is_here { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Refuses a directory without a header that holds anything else.
fn refuse_foreign_files(path: &Path) -> Result<(), Error> {
    if path.join(HEADER_FILE).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|source| Error::io(path, source))? {
        let name = entry.map_err(|source| Error::io(path, source))?.file_name();
        if !KNOWN_NAMES.iter().any(|known| name == *known) {
            let reason = format!("it has no {HEADER_FILE} file but holds {name:?}");
            return Err(Error::NotAStore { path: path.to_path_buf(), reason });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, Error> {
    let owner_path = path.join(OWNER_FILE);
    let error = |source| Error::io(&owner_path, source);
    let mut options = OpenOptions::new();
    let mut owner =
        options.read(true).write(true).create(true).truncate(false).open(&owner_path).map_err(error)?;
    match owner.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked { path: path.to_path_buf(), holder: read_holder(&mut owner) });
        }
        Err(TryLockError::Error(source)) => return Err(error(source)),
    }
    // Only a help for the next one who finds the lock taken; what counts is the lock.
    owner.set_len(0).and_then(|()| write!(owner, "{}", std::process::id())).map_err(error)?;
    Ok(owner)
}

fn read_holder(owner: &mut File) -> Option<u32> {
    let mut text = String::new();
    owner.rewind().ok()?;
    owner.take(OWNER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Creating,
    Ready,
}

/// The header: magic (8 bytes), format version, state, checksum of the bytes before it (4 bytes each, big-endian).
/// These 20 bytes keep their meaning in every later version, so that an older program can say what it found.
struct Header([u8; Self::BYTES]);

impl Header {
    const BYTES: usize = 20;
    const MAGIC: &'static [u8; 8] = b"WAGGLEKV";

    fn new(version: u32, state: State) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(Self::MAGIC);
        bytes[8..12].copy_from_slice(&version.to_be_bytes());
        bytes[12..16].copy_from_slice(&u32::from(state == State::Ready).to_be_bytes());
        let checksum = fnv1a(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_be_bytes());
        Self(bytes)
    }

    fn number(&self, at: usize) -> u32 {
        self.0[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// Understands the content of a header file.
    fn parse(content: &[u8], directory: &Path) -> Result<State, Error> {
        let path = directory.join(HEADER_FILE);
        let magic_bytes = content.len().min(Self::MAGIC.len());
        if content[..magic_bytes] != Self::MAGIC[..magic_bytes] {
            let reason = format!("its {HEADER_FILE} file does not begin as one of ours");
            return Err(Error::NotAStore { path: directory.to_path_buf(), reason });
        }
        let Some(header) = content.first_chunk::<{ Self::BYTES }>().map(|bytes| Self(*bytes)) else {
            let reason = format!("the file is truncated to {} of {} bytes", content.len(), Self::BYTES);
            return Err(Error::Damaged { path, reason });
        };
        if header.number(16) != fnv1a(&header.0[..16]) {
            return Err(Error::Damaged { path, reason: "the checksum of the header is wrong".into() });
        }
        let found = header.number(8);
        if found > FORMAT_VERSION {
            let path = directory.to_path_buf();
            return Err(Error::NewerVersion { path, found, supported: FORMAT_VERSION });
        }
        match (found, header.number(12)) {
            (FORMAT_VERSION, 0) => Ok(State::Creating),
            (FORMAT_VERSION, 1) => Ok(State::Ready),
            (version, state) => {
                let reason = format!("format version {version} with state {state} was never written");
                Err(Error::Damaged { path, reason })
            }
        }
    }
}

/// The 32-bit FNV-1a hash: enough to notice a damaged header of 16 bytes.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn read_header(directory: &Path) -> Result<Option<State>, Error> {
    let path = directory.join(HEADER_FILE);
    match fs::read(&path) {
        Ok(content) => Header::parse(&content, directory).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

/// Writes the header whole or not at all, and durably.
fn write_header(directory: &Path, state: State) -> Result<(), Error> {
    let path = directory.join(HEADER_NEW_FILE);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(&Header::new(FORMAT_VERSION, state).0)?;
        file.sync_all()?;
        fs::rename(&path, directory.join(HEADER_FILE))?;
        sync_directory(directory)
    };
    write().map_err(|source| Error::io(&path, source))
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and renames are durable with the file.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_understood_or_refused_for_the_right_reason() {
        let check = |content: &[u8], expected: &str| {
            let actual = match Header::parse(content, Path::new("store")) {
                Ok(state) => format!("{state:?}"),
                Err(error) => error.to_string(),
            };
            assert!(actual.contains(expected), "{actual:?} does not say {expected:?}");
        };
        let ready = Header::new(FORMAT_VERSION, State::Ready).0;
        check(&ready, "Ready");
        check(&Header::new(FORMAT_VERSION, State::Creating).0, "Creating");
        check(&ready[..19], "truncated to 19 of 20 bytes");
        check(&[], "truncated to 0 of 20 bytes");
        check(b"SQLite format 3\0....", "is not a Waggle store");
        check(
            &Header::new(FORMAT_VERSION + 1, State::Ready).0,
            "format version 2, this program reads up to 1",
        );
        check(&Header::new(0, State::Ready).0, "format version 0 with state 1 was never written");
        for byte in 8..20 {
            let mut damaged = ready;
            damaged[byte] ^= 1;
            check(&damaged, "the checksum of the header is wrong");
        }
    }
}
