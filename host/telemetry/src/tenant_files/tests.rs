//! Tests of tenants' log files against a real folder.

use super::*;
use crate::{FunctionLog, LineBudget};
use serde_json::Value;
use std::fs;

fn open(folder: &Path, bytes_max: u64, files_max: u32) -> Arc<TenantLogFiles> {
    TenantLogFiles::with_sizes(folder.to_owned(), LogFileSizes { bytes_max, files_max }).unwrap()
}

fn function_log(files: &TenantLogFiles, tenant: &str, function: &str) -> FunctionLog {
    let source = LogSource { tenant: tenant.into(), function: function.into(), instance: 7 };
    let budget = Arc::new(LineBudget::new(1_000_000));
    FunctionLog::with_file(source, LogStream::Stderr, budget, Some(files.file(tenant).unwrap()))
}

fn objects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_line_is_an_object_in_the_file_of_its_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let files = TenantLogFiles::new(folder.path().join("logs")).unwrap();
    let log = function_log(&files, "bank", "chat");
    log.set_request(Some("r-1".into()));
    log.write(b"hello \"world\"\\ \x1b[2K\n");
    log.set_request(None);
    log.write(b"later\n");
    function_log(&files, "shop", "chat").write(b"theirs\n");
    assert!(files.flush());
    let found = objects(&files.folder().join("bank.jsonl"));
    assert_eq!(found.len(), 2);
    let expected = [("tenant", "bank"), ("function", "chat"), ("request", "r-1"), ("stream", "stderr")];
    for (field, value) in expected {
        assert_eq!(found[0][field], value, "{field}");
    }
    assert_eq!(found[0]["instance"], 7);
    assert_eq!(found[0]["line"], "hello \"world\"\\ \\u{1b}[2K");
    let time = found[0]["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!((&found[1]["line"], &found[1]["request"]), (&Value::from("later"), &Value::Null));
    assert_eq!(objects(&files.folder().join("shop.jsonl"))[0]["line"], "theirs");
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let files = TenantLogFiles::new(folder.path().join("logs")).unwrap();
    function_log(&files, "bank", "chat").write(b"hello\n");
    assert!(files.flush());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(files.folder()), 0o700);
    assert_eq!(mode(&files.folder().join("bank.jsonl")), 0o600);
}

#[test]
fn dropping_the_files_writes_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    let log = function_log(&files, "bank", "chat");
    for number in 0..1_000 {
        log.write(format!("{number}\n").as_bytes());
    }
    log.write(b"no end");
    drop(log);
    drop(files);
    let found = objects(&folder.path().join("bank.jsonl"));
    assert_eq!(found.len(), 1_001);
    assert_eq!((&found[999]["line"], &found[1_000]["line"]), (&Value::from("999"), &Value::from("no end")));
}

#[test]
fn a_line_is_in_the_file_within_a_second_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    function_log(&files, "bank", "chat").write(b"hello\n");
    // Nobody flushes; the deadline is for slow machines.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while objects(&folder.path().join("bank.jsonl")).is_empty() {
        assert!(std::time::Instant::now() < deadline, "nothing was written");
        std::thread::yield_now();
    }
}

#[test]
fn files_have_a_bound_and_only_so_many_are_kept() {
    fn check(files_max: u32, expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let files = open(folder.path(), 1_000, files_max);
        let log = function_log(&files, "bank", "chat");
        for number in 0..100 {
            log.write(format!("line {number:03}\n").as_bytes());
            assert!(number % 10 > 0 || files.flush());
        }
        assert!(files.flush());
        assert_eq!(names(folder.path()), expected);
        let mut lines = Vec::new();
        for name in expected.iter().rev() {
            let path = folder.path().join(name);
            assert!(fs::metadata(&path).unwrap().len() <= 1_000, "{name}");
            lines.extend(objects(&path).iter().map(|object| object["line"].as_str().unwrap().to_owned()));
        }
        let first = 100 - lines.len();
        let last: Vec<_> = (first..100).map(|number| format!("line {number:03}")).collect();
        assert_eq!(lines, last, "what is kept is the end, without a gap");
    }
    check(1, &["bank.jsonl"]);
    check(2, &["bank.jsonl", "bank.jsonl.1"]);
    check(3, &["bank.jsonl", "bank.jsonl.1", "bank.jsonl.2"]);
}

#[test]
fn a_line_longer_than_a_file_has_one_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 500, 4);
    let log = function_log(&files, "bank", "chat");
    let long = "x".repeat(1_000);
    log.write(format!("a\n{long}\nb\n").as_bytes());
    assert!(files.flush());
    let line = |name: &str| objects(&folder.path().join(name))[0]["line"].clone();
    assert_eq!(line("bank.jsonl"), "b");
    assert_eq!(line("bank.jsonl.1"), long);
    assert_eq!(line("bank.jsonl.2"), "a");
}

#[test]
fn a_line_that_a_crash_cut_off_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bank.jsonl"), "{\"time\":\"20").unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    function_log(&files, "bank", "chat").write(b"hello\n");
    assert!(files.flush());
    let text = fs::read_to_string(folder.path().join("bank.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(serde_json::from_str::<Value>(lines[1]).unwrap()["line"], "hello");
}

#[test]
fn a_disk_that_fails_blocks_nobody_and_the_loss_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    let log = function_log(&files, "bank", "chat");
    // A folder stands where the file should be: whoever is root could write to anything else.
    let path = folder.path().join("bank.jsonl");
    fs::create_dir(&path).unwrap();
    log.write(b"lost\nlost\n");
    assert!(files.flush());
    log.write(b"lost\n");
    assert!(files.flush());
    fs::remove_dir(&path).unwrap();
    log.write(b"written\n");
    assert!(files.flush());
    let found = objects(&path);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0]["dropped"], &found[0]["tenant"]), (&Value::from(3), &Value::from("bank")));
    assert_eq!(found[1]["line"], "written");
}

#[test]
fn one_tenant_cannot_take_the_room_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 30, 2);
    let (flood, quiet) = (function_log(&files, "flood", "chat"), function_log(&files, "quiet", "chat"));
    let line = format!("{}\n", "x".repeat(8_000));
    for _ in 0..10_000 {
        flood.write(line.as_bytes());
    }
    quiet.write(b"hello\n");
    assert!(files.flush());
    assert_eq!(objects(&folder.path().join("quiet.jsonl"))[0]["line"], "hello");
    flood.write(b"last\n");
    assert!(files.flush());
    let found = objects(&folder.path().join("flood.jsonl"));
    let lines = found.iter().filter(|object| object["line"].is_string()).count() as u64;
    let dropped: u64 = found.iter().filter_map(|object| object["dropped"].as_u64()).sum();
    assert_eq!(lines + dropped, 10_001);
    assert!(dropped > 0, "80 MB do not fit into 1 MiB");
}

#[test]
fn what_the_budget_drops_is_told_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    let source = LogSource { tenant: "bank".into(), function: "chat".into(), instance: 7 };
    let file = files.file("bank").unwrap();
    let log = FunctionLog::with_file(source, LogStream::Stdout, Arc::new(LineBudget::new(1)), Some(file));
    log.write("x\n".repeat(1_000).as_bytes());
    drop(log);
    assert!(files.flush());
    let found = objects(&folder.path().join("bank.jsonl"));
    let lines = found.iter().filter(|object| object["line"] == "x").count() as u64;
    let dropped: u64 = found.iter().filter_map(|object| object["dropped"].as_u64()).sum();
    assert_eq!(lines + dropped, 1_000);
}

#[test]
fn removing_a_tenant_deletes_its_files_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bank.jsonl.1", "bank.jsonl.7", "bank-2.jsonl", "bank.jsonl.x", "notes.txt", "a-bank.jsonl"]
    {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let files = open(folder.path(), 1 << 20, 2);
    let log = function_log(&files, "bank", "chat");
    log.write(b"hello\n");
    assert!(files.flush());
    log.write(b"still on its way\n");
    let file = files.file("bank").unwrap();
    assert_eq!(files.remove("bank").unwrap(), 3);
    // One that was made before the removal and comes into the queue after it.
    assert!(files.queue.push(Record {
        file,
        time: SystemTime::now(),
        function: "chat".into(),
        instance: 7,
        request: None,
        stream: LogStream::Stdout,
        content: Content::Line("overtaken".to_owned()),
    }));
    // An instance that outlives its tenant.
    log.write(b"too late\n");
    drop(log);
    assert!(files.flush());
    assert_eq!(names(folder.path()), ["a-bank.jsonl", "bank-2.jsonl", "bank.jsonl.x", "notes.txt"]);
    assert_eq!(files.remove("bank").unwrap(), 0);
    function_log(&files, "bank", "chat").write(b"a new tenant of that name\n");
    assert!(files.flush());
    assert_eq!(objects(&folder.path().join("bank.jsonl")).len(), 1);
}

#[test]
fn all_functions_of_a_tenant_share_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    let one = files.file("bank").unwrap();
    assert!(Arc::ptr_eq(&one, &files.file("bank").unwrap()));
    assert!(!Arc::ptr_eq(&one, &files.file("shop").unwrap()));
    for number in 0..10_000 {
        drop(files.file(&format!("t{number}")).unwrap());
    }
    assert!(files.files.lock().unwrap().len() < 100, "files that nobody holds take no room");
}

#[test]
fn a_name_that_leads_elsewhere_has_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1 << 20, 2);
    for tenant in ["", "..", "../bank", "a/b", "Bank", "a.b", "a\0", &"a".repeat(65)] {
        let message = files.file(tenant).unwrap_err().to_string();
        assert!(message.contains("no tenant id"), "{message}");
        assert!(files.remove(tenant).is_err());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let message = TenantLogFiles::new(path.join("logs")).err().unwrap().to_string();
    assert!(message.contains("file/logs"), "{message}");
}
