//! What cannot be read is told, with its place; what can be made again is; and nobody else suffers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chunks.rs"]
mod chunks;

use chunks::{SETTINGS, by_both, by_words, index, with_vector};
use std::{
    fs,
    path::{Path, PathBuf},
};
use waggle_vector::{Embedded, EmbeddedConfig, OpenError, Query, VectorError, VectorIndexes as _};

const TENANT: &str = "acme";

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, EmbeddedConfig { exact_chunks_max: 100, ..EmbeddedConfig::default() }).unwrap()
}

/// Two indexes with some groups each, of which the first was written to files in every way there is.
async fn fill(folder: &Path) {
    let indexes = open(folder);
    for name in ["docs", "other"] {
        indexes.create(TENANT, &index(name), SETTINGS).await.unwrap();
        for group in 0..10_u8 {
            let all = (0..30_u8).map(|ordinal| {
                with_vector(ordinal.into(), &format!("word{group}"), [1.0, group.into(), ordinal.into(), 1.0])
            });
            indexes.stage(TENANT, &index(name), &group.to_string(), 1, all.collect()).await.unwrap();
            indexes.publish(TENANT, &index(name), &group.to_string(), 1, 30, vec![]).await.unwrap();
            if name == "docs" && group == 7 {
                indexes.settle(TENANT, &index(name)).await.unwrap();
            }
        }
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    let index = folder.join("n-acme").join("n-docs");
    let mut found = index.read_dir().unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)).unwrap()
}

fn change(path: &Path, at: impl FnOnce(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Everything is found in an index.
async fn check_whole(indexes: &Embedded, name: &str) {
    for group in 0..10_u8 {
        let query = Query { limit: 100, ..by_both(&format!("word{group}"), [1.0, group.into(), 3.0, 1.0]) };
        let hits = indexes.search(TENANT, &[index(name)], query).await.unwrap();
        assert_eq!(hits.iter().filter(|hit| hit.group == group.to_string()).count(), 30, "{name} {group}");
    }
}

#[tokio::test]
async fn what_was_written_is_found_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let indexes = open(folder.path());
    assert_eq!(indexes.usage(TENANT).await.unwrap().chunks, 600);
    check_whole(&indexes, "docs").await;
    check_whole(&indexes, "other").await;
    assert_eq!(indexes.metrics().loads, 2);
}

#[tokio::test]
async fn a_damaged_or_missing_part_is_made_again() {
    for is_missing in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path()).await;
        let segment = file(folder.path(), "segment-");
        if is_missing {
            fs::remove_file(segment).unwrap();
        } else {
            change(&segment, |length| length / 2);
        }
        check_whole(&open(folder.path()), "docs").await;
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_what_comes_next_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let log = file(folder.path(), "log-");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(b"1LVG torn");
    fs::write(&log, bytes).unwrap();
    {
        let indexes = open(folder.path());
        check_whole(&indexes, "docs").await;
        indexes.remove(TENANT, &index("docs"), vec!["3".into()]).await.unwrap();
    }
    let indexes = open(folder.path());
    let hits = indexes.search(TENANT, &[index("docs")], by_words("word3")).await.unwrap();
    assert!(hits.is_empty());
    assert_eq!(indexes.describe(TENANT, &index("docs")).await.unwrap().groups, 9);
}

/// Damages a file of `docs`; returns what is told of it.
async fn told(name: &str, at: impl FnOnce(usize) -> usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    change(&file(folder.path(), name), at);
    let indexes = open(folder.path());
    for _ in 0..2 {
        let error = indexes.describe(TENANT, &index("docs")).await.unwrap_err();
        assert!(matches!(error, VectorError::Damaged(_)), "{error}");
    }
    check_whole(&indexes, "other").await;
    let error = indexes.search(TENANT, &[index("docs")], by_words("word1")).await.unwrap_err();
    // It can be made anew.
    indexes.drop_index(TENANT, &index("docs")).await.unwrap();
    indexes.create(TENANT, &index("docs"), SETTINGS).await.unwrap();
    assert_eq!(indexes.describe(TENANT, &index("docs")).await.unwrap().chunks, 0);
    error.to_string()
}

#[tokio::test]
async fn damage_to_the_truth_is_told_with_its_place_and_others_go_on() {
    let log = told("log-", |length| length * 9 / 10).await;
    assert!(log.contains("log-00000001: offset "), "{log}");
    let state = told("state", |length| length / 2).await;
    assert!(state.contains("state: offset 0"), "{state}");
}

#[tokio::test]
async fn a_damaged_record_fails_the_searches_that_need_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let indexes = open(folder.path());
    check_whole(&indexes, "docs").await;
    let log = file(folder.path(), "log-");
    let bytes = fs::read(&log).unwrap();
    let at = bytes.windows(5).position(|window| window == b"word2").unwrap();
    // In place, since the index has the file open.
    let opened = fs::OpenOptions::new().write(true).open(&log).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&opened, b"?", at as u64).unwrap();
    let query = |word: &str| Query { limit: 100, ..by_words(word) };
    let error = indexes.search(TENANT, &[index("docs")], query("word2")).await.unwrap_err().to_string();
    assert!(error.contains("log-00000001: offset "), "{error}");
    assert_eq!(indexes.search(TENANT, &[index("docs")], query("word1")).await.unwrap().len(), 30);
}

#[tokio::test]
async fn a_folder_is_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(Embedded::open(folder.path(), EmbeddedConfig::default()), Err(OpenError::InUse { .. })));
    drop(first);
    assert!(Embedded::open(folder.path(), EmbeddedConfig::default()).is_ok());
}
