//! Which settings are refused, and where the mistake is said to be.

use super::*;
use crate::SECRET_BYTES_MAX;
use crate::testing::{issuer, tenant, tenant_with_key, upstream_secret};

fn full() -> Tenant {
    let (mut tenant, _) = tenant_with_key("bank");
    let settings = &mut tenant.settings;
    settings.name = "Bank".to_owned();
    settings.issuers.push(issuer("bank", 1));
    settings.variables.insert("system_prompt".to_owned(), "Be kind.".into());
    let secret = SecretSource::Value("sk-1\n".to_owned());
    settings.secrets.insert("openai".to_owned(), upstream_secret(secret));
    settings.allowed_outbound_hosts = Some(vec!["https://api.example.com".to_owned()]);
    settings.functions = Some(vec!["chat".to_owned()]);
    settings.models = Some(vec!["gpt-*".to_owned(), "*".to_owned()]);
    tenant
}

#[test]
fn what_is_as_it_must_be_is_not_refused() {
    assert_eq!(full().check(), []);
    assert_eq!(tenant("empty").check(), []);
}

/// Makes one mistake in an otherwise good tenant.
#[track_caller]
fn check(path: &str, part: &str, spoil: impl Fn(&mut TenantSettings)) {
    let mut tenant = full();
    spoil(&mut tenant.settings);
    let found = tenant.check();
    let [mistake] = &found[..] else { panic!("{path}: {found:?}") };
    assert_eq!(mistake.path.join("."), path, "{mistake}");
    assert!(mistake.message.contains(part), "{mistake}");
}

fn secret(settings: &mut TenantSettings) -> &mut UpstreamSecret {
    settings.secrets.get_mut("openai").unwrap()
}

#[test]
fn a_mistake_is_found_at_its_field() {
    check("name", "201 bytes", |s| s.name = "x".repeat(201));
    check("name", "control character", |s| s.name = "a\nb".to_owned());
    check("limits.wait_ms_max", "60001", |s| s.limits.wait_ms_max = Some(60_001));
    check("limits.requests_per_second", "from 1", |s| s.limits.requests_per_second = Some(0));
    check("api_keys.0.id", "12 characters", |s| s.api_keys[0].id.push('a'));
    check("api_keys.0.hash", "SHA-256", |s| s.api_keys[0].hash.push('0'));
    check("api_keys.0.name", "201", |s| s.api_keys[0].name = "x".repeat(201));
    check("api_keys.0.scopes", "a scope has", |s| s.api_keys[0].scopes.push("a b".to_owned()));
    check("api_keys.0.scopes", "there are 51", |s| s.api_keys[0].scopes = vec!["a".to_owned(); 51]);
    check("api_keys.0.expires_at", "before", |s| s.api_keys[0].expires_at = Some(0));
    check("issuers.1", "same `issuer`", |s| s.issuers.push(s.issuers[0].clone()));
    check("issuers.0", "issuer", |s| s.issuers[0].issuer.clear());
    check("issuers.0.secret", "name of the environment", |s| {
        s.issuers[0].secret = Some(SecretSource::Environment(String::new()));
    });
    check("functions.0", "1 to 512", |s| s.functions = Some(vec![String::new()]));
    check("functions.1", "already", |s| s.functions = Some(vec!["a".to_owned(), "a".to_owned()]));
    check("models.0", "at the end", |s| s.models = Some(vec!["gpt-*-mini".to_owned()]));
    check("variables.Upper", "a-z", |s| drop(s.variables.insert("Upper".to_owned(), "".into())));
    check("variables.v", "at most 65536", |s| {
        s.variables.insert("v".to_owned(), "x".repeat(VARIABLE_BYTES_MAX + 1).into());
    });
}

#[test]
fn too_many_are_refused_by_their_number() {
    check("functions", "there are 1001", |s| s.functions = Some((0..1_001).map(|n| n.to_string()).collect()));
    check("models", "there are 1001", |s| s.models = Some((0..1_001).map(|n| n.to_string()).collect()));
    check("allowed_outbound_hosts", "there are 1001", |s| {
        s.allowed_outbound_hosts = Some((0..1_001).map(|n| n.to_string()).collect());
    });
    check("variables", "there are 101", |s| {
        s.variables = (0..101).map(|n| (format!("v{n}"), "".into())).collect();
    });
    check("api_keys", "there are 101", |s| {
        s.api_keys = (0..101).map(|_| ApiKey::generate("", Vec::new(), 0, None).0).collect();
    });
    check("issuers", "there are 21", |s| s.issuers = (0..21).map(|n| issuer(&n.to_string(), 1)).collect());
    check("secrets", "there are 51", |s| {
        let at = |n: u32| UpstreamSecret { path_prefix: format!("/{n}"), ..secret(&mut s.clone()).clone() };
        s.secrets = (0..51).map(|n| (format!("s{n}"), at(n))).collect();
    });
}

#[test]
fn two_keys_of_one_id_or_hash_are_refused() {
    check("api_keys.1.id", "another key", |s| {
        let hash = "0".repeat(64);
        s.api_keys.push(ApiKey { hash, ..s.api_keys[0].clone() });
    });
    check("api_keys.1.hash", "another key", |s| {
        let id = "abcdefgh2345".to_owned();
        s.api_keys.push(ApiKey { id, ..s.api_keys[0].clone() });
    });
}

#[test]
fn a_secret_that_could_not_be_sent_is_refused() {
    check("secrets.openai.header", "not the name", |s| secret(s).header = "a b".to_owned());
    check("secrets.openai.header", "belongs to the connection", |s| secret(s).header = "Host".to_owned());
    check("secrets.openai.prefix", "visible", |s| secret(s).prefix = "Bearer\r\n".to_owned());
    check("secrets.openai.path_prefix", "not a path", |s| secret(s).path_prefix = "v1".to_owned());
    check("secrets.openai.path_prefix", "not a path", |s| secret(s).path_prefix = "/a?b".to_owned());
    check("secrets.openai.secret", "empty", |s| {
        secret(s).secret = SecretSource::Value(String::new());
    });
    check("secrets.openai.secret", "65536", |s| {
        secret(s).secret = SecretSource::Value("x".repeat(SECRET_BYTES_MAX + 3));
    });
    check("secrets.openai.secret", "NUL", |s| {
        secret(s).secret = SecretSource::Environment("A=B".to_owned());
    });
    check("secrets.other", "only one can be sent", |s| {
        let same = UpstreamSecret { header: "Authorization".to_owned(), ..secret(s).clone() };
        s.secrets.insert("other".to_owned(), same);
    });
}

#[test]
fn only_scheme_host_and_port_are_an_origin() {
    for origin in [
        "https://api.example.com",
        "http://127.0.0.1:8080",
        "https://[::1]:8443",
        "https://[2001:db8::1]",
        "https://my_host.internal:1",
    ] {
        let mut tenant = full();
        secret(&mut tenant.settings).origin = origin.to_owned();
        assert_eq!(tenant.check(), [], "{origin}");
    }
    for origin in [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://api.example.com/",
        "https://api.example.com/v1",
        "https://user@api.example.com",
        "https://api.example.com:0",
        "https://api.example.com:70000",
        "https://api.example.com:",
        "https://API.example.com",
        "https://[::1",
        "https://[::1]x",
        "https://a b",
        "https://*.example.com",
    ] {
        check("secrets.openai.origin", "an origin is", |s| secret(s).origin = origin.to_owned());
    }
}

#[test]
fn all_mistakes_are_found_at_once_and_none_repeats_a_secret() {
    let mut tenant = full();
    let settings = &mut tenant.settings;
    settings.name = "x".repeat(300);
    settings.limits.wait_ms_max = Some(100_000);
    secret(settings).origin = "nowhere".to_owned();
    secret(settings).secret = SecretSource::Value("sk-secret".repeat(10_000));
    let found = tenant.check();
    let paths: Vec<String> = found.iter().map(|mistake| mistake.path.join(".")).collect();
    let expected = ["name", "secrets.openai.origin", "secrets.openai.secret", "limits.wait_ms_max"];
    assert_eq!(paths, expected);
    assert!(!format!("{found:?}").contains("sk-secret"));
}

#[test]
fn the_longest_secret_is_not_too_long_when_it_is_sealed() {
    let mut tenant = full();
    let longest = "x".repeat(SECRET_BYTES_MAX);
    let sealed = crate::testing::sealing_key(1).seal(&tenant.id, &longest).unwrap();
    secret(&mut tenant.settings).secret = SecretSource::Sealed(sealed);
    assert_eq!(tenant.check(), []);
    check("secrets.openai.secret", "longer than a sealed", |s| {
        let text = serde_json::to_string(&longest.repeat(2)).unwrap();
        secret(s).secret = SecretSource::Sealed(serde_json::from_str(&text).unwrap());
    });
}
