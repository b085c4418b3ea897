//! Tries: to reach other tenants' keys and to overload the store: keys made of ids, NULs and separators, twins, the
//! largest keys, values and batches, and labels of stores that are not its own. Tells what came of each.

use guests::imports::wasi::keyvalue::{atomics, batch, store};
use std::collections::BTreeSet;

guests::serve!(handle);

/// Keys that would be another tenant's if keys were put together carelessly; `{}` stands for that tenant's id.
const FOREIGN_KEYS: [&str; 18] = [
    "{}",
    "{}/mark",
    "{}:mark",
    "{}\u{0}mark",
    "\u{0}{}\u{0}default\u{0}mark",
    "\u{0}\u{4}{}\u{0}\u{7}defaultmark",
    "../{}/mark",
    "..\\{}\\mark",
    "tenant/{}/default/mark",
    "{}/default/mark",
    "\u{7f}{}mark",
    "\u{0}",
    "\u{0}\u{0}",
    "\u{10ffff}{}",
    "mark\u{0}",
    " mark",
    "ｍark",
    "MARK",
];

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let victim = guests::header(&request, "x-victim").unwrap_or_default();
    let told = match &*guests::trick(&request) {
        "keys" => keys(&victim),
        "labels" => labels(&victim),
        "twins" => twins(),
        "cursors" => cursors(&victim),
        "numbers" => numbers(),
        "sizes" => sizes(),
        "batches" => batches(),
        other => format!("no trick `{other}`"),
    };
    guests::answer(200, told)
}

fn opened() -> store::Bucket {
    store::open("default").expect("the store exists")
}

/// What it finds at each of the keys before it has written any; then it writes them all and removes them all.
fn keys(victim: &str) -> String {
    let bucket = opened();
    let keys: Vec<String> = FOREIGN_KEYS.iter().map(|key| key.replace("{}", victim)).collect();
    let mut found: Vec<String> = Vec::new();
    for key in keys.iter().map(String::as_str).chain(["mark"]) {
        if let Some(value) = bucket.get(key).expect("the key is valid") {
            found.push(format!("{key:?}={}", String::from_utf8_lossy(&value)));
        }
    }
    let listed = bucket.list_keys(None).expect("the keys are listed").keys;
    for key in &keys {
        bucket.set(key, b"stolen").expect("the key is taken");
        assert_eq!(bucket.get(key).expect("the key is valid").as_deref(), Some(&b"stolen"[..]), "{key:?}");
    }
    let written = bucket.list_keys(None).expect("the keys are listed").keys.len();
    batch::delete_many(&bucket, &keys).expect("the keys are removed");
    let left = bucket.list_keys(None).expect("the keys are listed").keys.len();
    format!("found {found:?}, listed {listed:?}, written {written}, left {left}")
}

fn labels(victim: &str) -> String {
    let labels = [
        "",
        "*",
        "Default",
        "DEFAULT",
        " default",
        "default ",
        "default\u{0}",
        "default/",
        "./default",
        "../default",
        "{}",
        "{}/default",
        "default/{}",
        "{}:default",
        "\u{0}\u{0}",
        "tenants",
        "host",
        "admin",
        "waggle",
        "kv",
        "ｄefault",
        "_",
        "default2",
        "other",
    ];
    let opened =
        labels.iter().map(|label| label.replace("{}", victim)).filter(|label| store::open(label).is_ok());
    let opened: Vec<String> = opened.collect();
    let long = store::open(&"x".repeat(10 << 20)).is_ok();
    format!("opened {opened:?}, long {long}")
}

/// Keys that look the same and are not.
fn twins() -> String {
    let bucket = opened();
    let twins = [
        "caf\u{e9}",
        "cafe\u{301}",
        "CAF\u{c9}",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "a\u{200b}",
        "a",
        "\u{430}",
    ];
    for (number, key) in twins.iter().enumerate() {
        bucket.set(key, number.to_string().as_bytes()).expect("the key is taken");
    }
    let kept = twins.iter().enumerate().filter(|(number, key)| {
        bucket.get(key).expect("the key is valid") == Some(number.to_string().into_bytes())
    });
    let kept = kept.count();
    let twins: Vec<String> = twins.iter().map(|key| (*key).to_owned()).collect();
    batch::delete_many(&bucket, &twins).expect("the keys are removed");
    format!("{kept} of {}", twins.len())
}

/// Every key that any cursor shows, with one key of its own there to be found.
fn cursors(victim: &str) -> String {
    let bucket = opened();
    bucket.set("own", b"1").expect("the key is taken");
    let cursors = [
        "",
        "\u{0}",
        "\u{0}\u{0}",
        "a",
        "ow",
        "own",
        "mark",
        "{}",
        "{}mark",
        "../{}",
        "\u{0}\u{4}{}",
        "\u{10ffff}",
        "*",
        "-1",
    ];
    let mut seen = BTreeSet::new();
    for cursor in cursors.map(|cursor| cursor.replace("{}", victim)) {
        let page = store::Bucket::list_keys(&bucket, Some(&cursor));
        seen.extend(page.map(|page| page.keys).unwrap_or_default());
    }
    let long = bucket.list_keys(Some(&"x".repeat(10 << 20))).is_ok_and(|page| !page.keys.is_empty());
    bucket.delete("own").expect("the key is removed");
    format!("seen {seen:?}, long {long}")
}

/// Counts past the end of the numbers, and with what is no number.
fn numbers() -> String {
    let bucket = opened();
    bucket.set("text", b"abc").expect("the key is taken");
    let told = [
        shown(atomics::increment(&bucket, "high", i64::MAX)),
        shown(atomics::increment(&bucket, "high", 1)),
        shown(atomics::increment(&bucket, "low", i64::MIN)),
        shown(atomics::increment(&bucket, "low", -1)),
        shown(atomics::increment(&bucket, "text", 1)),
        shown(batch::delete_many(&bucket, &["high".to_owned(), "low".to_owned(), "text".to_owned()])),
    ];
    told.join("\n")
}

fn shown<T>(result: Result<T, store::Error>) -> String {
    match result {
        Ok(_done) => "done".to_owned(),
        Err(store::Error::Other(text)) => text,
        Err(error) => format!("{error:?}"),
    }
}

fn sizes() -> String {
    let bucket = opened();
    let key = |bytes: usize| "k".repeat(bytes);
    let value = |bytes: usize| vec![b'v'; bytes];
    let told = [
        shown(bucket.set(&key(2 << 10), b"1")),
        shown(bucket.set(&key((2 << 10) + 1), b"1")),
        shown(bucket.set(&key(10 << 20), b"1")),
        shown(bucket.get(&key((2 << 10) + 1))),
        shown(bucket.set("large", &value(16 << 20))),
        shown(bucket.set("large", &value((16 << 20) + 1))),
        shown(bucket.delete("large")),
        shown(bucket.delete(&key(2 << 10))),
    ];
    told.join("\n")
}

fn batches() -> String {
    let bucket = opened();
    let keys = |count: usize| (0..count).map(|number| format!("b{number}")).collect::<Vec<_>>();
    let entries = |count: usize, bytes: usize| {
        keys(count).into_iter().map(|key| (key, vec![b'v'; bytes])).collect::<Vec<_>>()
    };
    let told = [
        shown(batch::set_many(&bucket, &entries(10_000, 1))),
        shown(batch::set_many(&bucket, &entries(10_001, 1))),
        shown(batch::get_many(&bucket, &keys(10_001))),
        shown(batch::delete_many(&bucket, &keys(10_001))),
        shown(batch::delete_many(&bucket, &keys(10_000))),
        shown(batch::set_many(&bucket, &entries(5, 15 << 20))),
        shown(batch::get_many(&bucket, &vec!["x".to_owned(); 10_000])),
    ];
    told.join("\n")
}
