//! Functions that misuse indexes: whatever they try is refused by name, and nobody else notices.

use crate::neighbours::tenants::{Caller, GOOD, Good, check_sound, memory_mib, with_tenants};
use crate::support::{Function, Server, Setup};

/// The tenant that misbehaves.
const BAD: &str = "bad";
/// What the hostile tenant may have in indexes.
const BYTES_MAX: u64 = 24 << 20;
/// What the process may grow by meanwhile, MiB: several times that, and the instances.
const GROWN_MIB_MAX: u64 = 350;

fn start() -> Server {
    let store = "key_value_stores = [\"default\"]";
    let setup = Setup::functions(&[
        Function::guest("vector-tricks"),
        Function::guest("vector-probe").with(store),
        Function::guest("kv-probe").with(store),
        Function::hello(),
    ]);
    let limits = format!("limits.vector_bytes_max = {BYTES_MAX}");
    with_tenants(setup, [(BAD, &*limits), (GOOD, "")]).start()
}

/// What came of each try, as (what, word).
async fn tried(server: &Server, trick: &str) -> Vec<(String, String)> {
    let bad = Caller::new(server, BAD);
    let request = bad.get(&format!("/vector-tricks/{trick}?now")).header("x-victim", GOOD);
    let response = request.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!(status, 200, "{trick}: {text}: {}", server.output());
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines.map(|(what, word)| (what.to_owned(), word.to_owned())).collect()
}

/// That every try came to one of the words that are allowed for it; those that are not named must be `invalid`.
fn check(told: &[(String, String)], least: usize, allowed: &[(&str, &[&str])]) {
    assert!(told.len() >= least, "{told:#?}");
    for (what, word) in told {
        let expected = allowed.iter().find(|(name, _words)| name == what);
        let expected = expected.map_or(&["invalid"][..], |(_name, words)| *words);
        assert!(expected.contains(&word.as_str()), "{what}: {word}, and not one of {expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_by_name_and_harms_nobody() {
    let server = start();
    let good = Good::watch(&server).await;
    check(&tried(&server, "chunks").await, 17, &[("most that may be", &["done"])]);
    check(
        &tried(&server, "groups").await,
        18,
        &[
            ("staged", &["done"]),
            ("another version", &["invalid", "no-such-group"]),
            ("published", &["done"]),
            ("published again", &["done"]),
            ("read beyond", &["done", "invalid"]),
            ("read nothing", &["no-such-group"]),
        ],
    );
    check(
        &tried(&server, "queries").await,
        21,
        &[
            ("fine", &["done"]),
            // Only its beginning counts.
            ("long text", &["done"]),
            ("syntax", &["done"]),
            ("doubling nodes", &["done"]),
            ("no indexes", &["done", "invalid"]),
        ],
    );
    good.check_unharmed("calls out of bounds").await;
    check_sound(&server, "calls out of bounds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_to_another_tenants_index_or_out_of_the_folder() {
    let server = start();
    let good = Caller::new(&server, GOOD);
    for call in [
        "create?index=secret&dimensions=0",
        "stage?index=secret&group=g&version=1&texts=text+of+the+victim",
        "publish?index=secret&group=g&version=1&chunks=1",
    ] {
        assert_eq!(good.text(&format!("/vector-probe/{call}")).await, (200, "done".to_owned()), "{call}");
    }
    let told = tried(&server, "names").await;
    assert!(told.len() > 40, "{told:#?}");
    for (what, word) in &told {
        assert!(matches!(word.as_str(), "invalid" | "no-such-index"), "{what}: {word}");
    }
    let (status, found) = good.text("/vector-probe/search?indexes=secret&text=victim").await;
    assert!(status == 200 && found.contains("text of the victim"), "{found}");
    check_sound(&server, "names").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_chunks_ends_at_the_tenants_limit_and_harms_nobody() {
    let server = start();
    let good = Good::watch(&server).await;
    let before = memory_mib(&server, "VmHWM");
    let expected = [("stopped", "full"), ("removed", "done"), ("again", "done")];
    for _round in 0..2 {
        let told = tried(&server, "flood").await;
        let told: Vec<_> = told.iter().map(|(what, word)| (what.as_str(), word.as_str())).collect();
        assert_eq!(told, expected, "{}", server.output());
    }
    good.check_unharmed("a flood of chunks").await;
    check_sound(&server, "a flood of chunks").await;
    let grown = memory_mib(&server, "VmHWM") - before;
    assert!(grown < GROWN_MIB_MAX, "the process grew by {grown} MiB");
}
