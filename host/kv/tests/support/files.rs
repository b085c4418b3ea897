//! Looks into the files of a store.

use std::path::{Path, PathBuf};

/// The files below the directory that hold these bytes somewhere.
pub(crate) fn files_with(directory: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if let Ok(content) = std::fs::read(&path)
            // A file that the engine removes at this moment holds nothing.
            && holds(&content, needle)
        {
            found.push(path);
        }
    }
    found
}

fn holds(content: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = needle.split_first().unwrap();
    let mut content = content;
    while let Some(at) = content.iter().position(|byte| byte == first) {
        content = &content[at + 1..];
        if content.starts_with(rest) {
            return true;
        }
    }
    false
}
