//! Which files are meant by paths: files as they are named, folders with what is below them and can be read.

use crate::{FILES_MAX, KnowledgeError};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

/// The ends of the names of files that are taken from folders. One that is named itself is taken whatever it is called:
/// the server looks at what is in it.
pub const EXTENSIONS: [&str; 12] =
    ["csv", "docx", "htm", "html", "json", "jsonl", "markdown", "md", "ndjson", "pdf", "text", "txt"];
/// How deep folders may be inside each other.
const DEPTH_MAX: usize = 64;
/// How much is read at once to hash it, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A file on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called, with `/`.
    pub label: String,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In the order of what they are called.
    pub files: Vec<LocalFile>,
    /// How many files of folders were left out for what they are called.
    pub passed_over: usize,
}

fn failed(path: &Path, reason: impl ToString) -> KnowledgeError {
    KnowledgeError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// The name of a path that was given: as it was written if it leads down from here, else its last part.
fn label(path: &Path) -> Result<String, KnowledgeError> {
    let mut names = Vec::new();
    let mut leads_down = true;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_owned()),
            _ => leads_down = false,
        }
    }
    if !leads_down || names.is_empty() {
        let whole = fs::canonicalize(path).map_err(|error| failed(path, error))?;
        names = whole.file_name().map(|name| vec![name.to_owned()]).unwrap_or_default();
    }
    let names: Option<Vec<&str>> = names.iter().map(|name| name.to_str()).collect();
    names.map(|names| names.join("/")).ok_or_else(|| failed(path, "its name is not UTF-8"))
}

/// Whether a file of a folder is taken, by its name.
fn is_taken(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase).unwrap_or_default();
    EXTENSIONS.contains(&extension.as_str())
}

struct Scanner {
    /// By what they are called.
    found: BTreeMap<String, PathBuf>,
    passed_over: usize,
}

impl Scanner {
    fn take(&mut self, path: PathBuf, label: String) -> Result<(), KnowledgeError> {
        if let Some(first) = self.found.get(&label) {
            // A file that is named twice is one file.
            if fs::canonicalize(first).ok() == fs::canonicalize(&path).ok() {
                return Ok(());
            }
            return Err(KnowledgeError::SameName { label, first: first.clone(), second: path });
        }
        if self.found.len() == FILES_MAX {
            return Err(KnowledgeError::TooManyFiles { files_max: FILES_MAX });
        }
        self.found.insert(label, path);
        Ok(())
    }

    /// Takes what is below a folder. Links are not followed, so that no way leads back up; what is hidden stays so.
    fn descend(&mut self, folder: &Path, label: &str, depth: usize) -> Result<(), KnowledgeError> {
        if depth > DEPTH_MAX {
            return Err(failed(folder, format!("folders are more than {DEPTH_MAX} deep")));
        }
        for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
            let entry = entry.map_err(|error| failed(folder, error))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|error| failed(folder, error))?);
            let name = entry.file_name();
            let Some(name) = name.to_str() else { return Err(failed(&path, "its name is not UTF-8")) };
            if name.starts_with('.') {
                continue;
            }
            let label = if label.is_empty() { name.to_owned() } else { format!("{label}/{name}") };
            if kind.is_dir() {
                self.descend(&path, &label, depth + 1)?;
            } else if kind.is_file() && is_taken(name) {
                self.take(path, label)?;
            } else if kind.is_file() {
                self.passed_over += 1;
            }
        }
        Ok(())
    }
}

/// Finds the files that are meant by `paths`. A path that leads down from the working folder is part of what its files are
/// called, of any other only the last name, so that the same command always means the same files.
///
/// # Errors
/// A path does not exist or cannot be read, two files would have one name, or there are more than [`FILES_MAX`].
pub fn scan(paths: &[PathBuf]) -> Result<Scan, KnowledgeError> {
    let mut scanner = Scanner { found: BTreeMap::new(), passed_over: 0 };
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| failed(path, error))?;
        // The working folder gives its files no name of its own.
        let is_here = path.components().all(|component| component == Component::CurDir);
        let label = if is_here { String::new() } else { label(path)? };
        if metadata.is_dir() {
            scanner.descend(path, &label, 1)?;
        } else if metadata.is_file() {
            scanner.take(path.clone(), label)?;
        } else {
            return Err(failed(path, "it is neither a file nor a folder"));
        }
    }
    let files = scanner.found.into_iter().map(|(label, path)| LocalFile { path, label }).collect();
    Ok(Scan { files, passed_over: scanner.passed_over })
}

/// How many bytes a file has, and their SHA-256 in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub(crate) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hash.update(piece.get(..count).unwrap_or_default());
    }
    let hex = hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    });
    Ok((bytes, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_means_what_is_below_it_and_can_be_read() {
        let folder =
            folder(&["docs/b.md", "docs/a.TXT", "docs/x/y/c.pdf", "docs/logo.png", "docs/.git/d.md", "e.md"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("docs/up")).unwrap();
        let scan = scan(&[folder.path().join("docs"), folder.path().join("docs/logo.png")]).unwrap();
        let labels: Vec<&str> = scan.files.iter().map(|file| file.label.as_str()).collect();
        assert_eq!(labels, ["docs/a.TXT", "docs/b.md", "docs/x/y/c.pdf", "logo.png"]);
        assert_eq!(scan.passed_over, 1);
    }

    #[test]
    fn a_file_named_twice_is_one_and_two_of_one_name_are_refused() {
        let folder = folder(&["one/a.md", "two/a.md"]);
        let [one, two] = ["one/a.md", "two/a.md"].map(|file| folder.path().join(file));
        assert_eq!(scan(&[one.clone(), one.clone()]).unwrap().files.len(), 1);
        let error = scan(&[one, two]).unwrap_err();
        assert!(matches!(&error, KnowledgeError::SameName { label, .. } if label == "a.md"), "{error}");
        let absent = scan(&[folder.path().join("absent")]).unwrap_err().to_string();
        assert!(absent.contains("absent"), "{absent}");
    }

    #[test]
    fn what_a_path_is_called_depends_on_how_it_was_written() {
        for (path, expected) in [("docs", "docs"), ("./docs/", "docs"), ("docs/./a.md", "docs/a.md")] {
            assert_eq!(label(Path::new(path)).unwrap(), expected, "{path}");
        }
        assert_eq!(label(Path::new("/usr/../usr")).unwrap(), "usr");
    }

    #[test]
    fn a_digest_is_that_of_all_bytes() {
        let folder = folder(&[]);
        let path = folder.path().join("a");
        fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(&path).unwrap(), (3, known.to_owned()));
        fs::write(&path, vec![7; 2 * PIECE_BYTES + 1]).unwrap();
        assert_eq!(digest(&path).unwrap().0, 2 * PIECE_BYTES as u64 + 1);
    }
}
