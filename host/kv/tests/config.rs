//! The configuration slice: what is read, and what is said about mistakes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use waggle_kv::{Backend, StoreConfig, StoreOptions};

#[derive(Debug, Deserialize)]
struct RuntimeConfig {
    key_value_store: BTreeMap<String, StoreConfig>,
}

fn read(table: &str) -> Result<StoreConfig, toml::de::Error> {
    let text = format!("[key_value_store.default]\n{table}");
    let mut config: RuntimeConfig = toml::from_str(&text)?;
    Ok(config.key_value_store.remove("default").unwrap())
}

#[test]
fn stores_are_configured_as_spin_does_it() {
    let check = |table: &str, expected: StoreConfig| assert_eq!(read(table).unwrap(), expected, "{table}");
    let embedded = |path: Option<&str>, time_to_live: Option<&str>| StoreConfig::Embedded {
        path: path.map(PathBuf::from),
        time_to_live: time_to_live.map(str::to_owned),
    };
    let redis = |url: &str, time_to_live: Option<&str>| StoreConfig::Redis {
        url: url.to_owned(),
        time_to_live: time_to_live.map(str::to_owned),
    };
    check(r#"type = "embedded""#, StoreConfig::default());
    check("type = \"spin\"\npath = \"data/kv\"", embedded(Some("data/kv"), None));
    check("type = \"embedded\"\ntime_to_live = \"7d\"", embedded(None, Some("7d")));
    check("type = \"redis\"\nurl = \"redis://localhost\"", redis("redis://localhost", None));
    check(
        "type = \"valkey\"\nurl = \"redis://localhost\"\ntime_to_live = \"30m\"",
        redis("redis://localhost", Some("30m")),
    );
}

#[test]
fn mistakes_of_form_name_the_field() {
    let check = |table: &str, expected: &[&str]| {
        let said = read(table).unwrap_err().to_string();
        assert!(expected.iter().all(|word| said.contains(word)), "{said:?} does not say {expected:?}");
    };
    check("", &["type"]);
    check(r#"type = "mongodb""#, &["mongodb", "embedded", "redis"]);
    check(r#"type = "redis""#, &["url"]);
    check("type = \"redis\"\nurl = 6379", &["6379"]);
    check("type = \"embedded\"\nurl = \"redis://localhost\"", &["url", "path"]);
    check("type = \"redis\"\nurl = \"redis://localhost\"\npath = \"x\"", &["path"]);
    check("type = \"embedded\"\nttl = \"7d\"", &["ttl", "time_to_live"]);
}

#[test]
fn values_are_checked_before_anything_is_opened() {
    let check = |table: &str, expected: &str| {
        let said = read(table).unwrap().settings().unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said:?} instead of {expected:?}");
    };
    check("type = \"embedded\"\npath = \"\"", "`path`: is empty");
    check("type = \"embedded\"\ntime_to_live = \"soon\"", "`time_to_live`: \"soon\" is not a span of time");
    check("type = \"redis\"\nurl = \"localhost\"", "`url`: what is given is not an address");
    check("type = \"redis\"\nurl = \"rediss://u:p@host\"", "`url`: rediss://u:***@host: TLS to Redis");
    check(
        "type = \"redis\"\nurl = \"redis://host\"\ntime_to_live = \"0s\"",
        "`time_to_live`: \"0s\" is out of range",
    );
    let settings =
        read("type = \"redis\"\nurl = \"redis://host\"\ntime_to_live = \"30m\"").unwrap().settings().unwrap();
    assert!(matches!(settings.backend, Backend::Redis(_)));
    assert_eq!(settings.options, StoreOptions { time_to_live: Some(Duration::from_secs(1_800)) });
}

#[test]
fn a_configuration_never_shows_its_password() {
    let config = read("type = \"redis\"\nurl = \"redis://user:hunter2@host/1\"").unwrap();
    let said = format!("{config:?} {:?}", config.settings().unwrap());
    assert!(!said.contains("hunter2") && said.contains("redis://user:***@host/1"), "{said}");
}
