//! Between a tenant as it is kept and as the API shows it: secrets stay out on the way to a client, and what a client
//! leaves out stays as it is.

use crate::problem::{Mistake, step};
use crate::shape;
use std::collections::BTreeMap;
use waggle_tenancy::{
    ApiKey, FieldMistake, Isolation, Issuer, SecretSource, TenantSettings, TenantState, TenantVariable,
    UpstreamSecret,
};

/// Members of a JSON Web Key that are not public (RFC 7518, sections 6.2.2, 6.3.2 and 6.4; RFC 8037, section 2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const ONLY_THE_FILE: &str =
    "only tenants.toml can name files and environment variables of the host; give the value itself";

/// The settings without what must not be seen. `is_secret` tells which variables the application declares as secret.
pub(crate) fn show(settings: &TenantSettings, is_secret: impl Fn(&str) -> bool) -> shape::Settings {
    let variables = settings.variables.iter();
    let secrets = settings.secrets.iter();
    shape::Settings {
        name: settings.name.clone(),
        state: Some(show_state(settings.state)),
        issuers: settings.issuers.iter().map(show_issuer).collect(),
        variables: variables
            .map(|(name, value)| {
                // One that is sealed was secret once, even if spin.toml says otherwise by now.
                let shown = value.as_plain().filter(|_value| !is_secret(name));
                (name.clone(), shown.map(str::to_owned))
            })
            .collect(),
        secrets: secrets.map(|(name, secret)| (name.clone(), show_secret(secret))).collect(),
        allowed_outbound_hosts: settings.allowed_outbound_hosts.clone(),
        functions: settings.functions.clone(),
        models: settings.models.clone(),
        answer_cache_s: settings.answer_cache_s,
        limits: settings.limits,
        isolation: settings.isolation.map(|isolation| match isolation {
            Isolation::Tenant => shape::Isolation::Tenant,
            Isolation::Request => shape::Isolation::Request,
        }),
        log_file: settings.log_file,
        trace_content: settings.trace_content,
    }
}

pub(crate) fn show_state(state: TenantState) -> shape::TenantState {
    match state {
        TenantState::Active => shape::TenantState::Active,
        TenantState::Suspended => shape::TenantState::Suspended,
    }
}

/// A key without its hash.
pub(crate) fn show_key(key: &ApiKey, last_used_at: Option<u64>) -> shape::Key {
    shape::Key {
        id: key.id.clone(),
        name: key.name.clone(),
        scopes: key.scopes.clone(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        last_used_at,
    }
}

fn show_issuer(issuer: &Issuer) -> shape::Issuer {
    shape::Issuer {
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        secret: issuer.secret.as_ref().and_then(show_source),
        jwks: issuer.jwks.clone().filter(|text| is_public(text)),
        jwks_file: issuer.jwks_file.clone(),
        jwks_url: issuer.jwks_url.clone(),
        clock_skew_s: issuer.clock_skew_s,
        user_claim: issuer.user_claim.clone(),
    }
}

fn show_secret(secret: &UpstreamSecret) -> shape::UpstreamSecret {
    shape::UpstreamSecret {
        origin: secret.origin.clone(),
        path_prefix: secret.path_prefix.clone(),
        header: secret.header.clone(),
        prefix: secret.prefix.clone(),
        secret: show_source(&secret.secret),
    }
}

/// Names of variables and files are shown, values are not, in whatever form they are kept.
fn show_source(source: &SecretSource) -> Option<shape::SecretSource> {
    let shown = shape::SecretSource { value: None, environment: None, file: None };
    match source {
        SecretSource::Environment(name) => {
            Some(shape::SecretSource { environment: Some(name.clone()), ..shown })
        }
        SecretSource::File(path) => Some(shape::SecretSource { file: Some(path.clone()), ..shown }),
        _ => None,
    }
}

/// Whether a key set holds public keys only. What cannot be read is not public.
fn is_public(jwks: &str) -> bool {
    let set: serde_json::Value = serde_json::from_str(jwks).unwrap_or_default();
    let Some(keys) = set["keys"].as_array() else { return false };
    keys.iter().all(|key| {
        key.as_object()
            .is_some_and(|key| !key.keys().any(|member| PRIVATE_MEMBERS.contains(&member.as_str())))
    })
}

/// The settings that `new` asks for, where `old` are those in force. API keys stay: they are changed on their own.
///
/// # Errors
/// All places at which something is to be kept that is not there, pointers beginning with `base`.
pub(crate) fn apply(
    new: shape::Settings,
    old: &TenantSettings,
    base: &str,
) -> Result<TenantSettings, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let issuers = new.issuers.into_iter().enumerate().filter_map(|(index, issuer)| {
        let place = format!("{base}/issuers/{index}");
        apply_issuer(issuer, old, &place).map_err(|mistake| mistakes.push(mistake)).ok()
    });
    let issuers = issuers.collect();
    let secrets = new.secrets.into_iter().filter_map(|(name, secret)| {
        let place = format!("{base}/secrets{}", step(&name));
        match apply_secret(secret, old.secrets.get(&name), &place) {
            Ok(secret) => Some((name, secret)),
            Err(mistake) => {
                mistakes.push(mistake);
                None
            }
        }
    });
    let secrets = secrets.collect();
    let mut variables = BTreeMap::new();
    for (name, value) in new.variables {
        match value.map(TenantVariable::Plain).or_else(|| old.variables.get(&name).cloned()) {
            Some(value) => drop(variables.insert(name, value)),
            None => {
                let place = format!("{base}/variables{}", step(&name));
                mistakes.push(Mistake::at(place, "null keeps the value there is, but there is none"));
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(TenantSettings {
        name: new.name,
        state: new.state.map_or(old.state, |state| match state {
            shape::TenantState::Active => TenantState::Active,
            shape::TenantState::Suspended => TenantState::Suspended,
        }),
        api_keys: old.api_keys.clone(),
        issuers,
        variables,
        secrets,
        allowed_outbound_hosts: new.allowed_outbound_hosts,
        functions: new.functions,
        models: new.models,
        answer_cache_s: new.answer_cache_s,
        limits: new.limits,
        isolation: new.isolation.map(|isolation| match isolation {
            shape::Isolation::Tenant => Isolation::Tenant,
            shape::Isolation::Request => Isolation::Request,
        }),
        log_file: new.log_file,
        trace_content: new.trace_content,
    })
}

fn apply_issuer(new: shape::Issuer, old: &TenantSettings, place: &str) -> Result<Issuer, Mistake> {
    let mut same = old.issuers.iter().filter(|old| old.issuer == new.issuer && old.audience == new.audience);
    let (before, unique) = (same.next(), same.next().is_none());
    if new.jwks_file.is_some() && new.jwks_file != before.and_then(|old| old.jwks_file.clone()) {
        return Err(Mistake::at(format!("{place}/jwks_file"), ONLY_THE_FILE));
    }
    let secret = match new.secret {
        Some(source) => {
            let before = before.and_then(|old| old.secret.as_ref());
            Some(apply_source(source, before, &format!("{place}/secret"))?)
        }
        None => None,
    };
    let mut issuer = Issuer {
        issuer: new.issuer,
        audience: new.audience,
        secret,
        jwks: new.jwks,
        jwks_file: new.jwks_file,
        jwks_url: new.jwks_url,
        clock_skew_s: new.clock_skew_s,
        user_claim: new.user_claim,
    };
    let keyless = issuer.secret.is_none()
        && issuer.jwks.is_none()
        && issuer.jwks_file.is_none()
        && issuer.jwks_url.is_none();
    if !keyless {
        return Ok(issuer);
    }
    let Some(before) = before.filter(|_| unique) else {
        let detail = "`secret`, `jwks` or `jwks_url` is missing; they are kept only for an issuer there is";
        return Err(Mistake::at(place, detail));
    };
    issuer.secret.clone_from(&before.secret);
    issuer.jwks.clone_from(&before.jwks);
    issuer.jwks_file.clone_from(&before.jwks_file);
    issuer.jwks_url.clone_from(&before.jwks_url);
    Ok(issuer)
}

fn apply_secret(
    new: shape::UpstreamSecret,
    old: Option<&UpstreamSecret>,
    place: &str,
) -> Result<UpstreamSecret, Mistake> {
    let place = format!("{place}/secret");
    let secret = match (new.secret, old) {
        (Some(source), old) => apply_source(source, old.map(|old| &old.secret), &place)?,
        // A secret that may not be seen must not be sent elsewhere either, by whom it may not be seen.
        (None, Some(old))
            if (&new.origin, &new.path_prefix, &new.header, &new.prefix)
                == (&old.origin, &old.path_prefix, &old.header, &old.prefix) =>
        {
            old.secret.clone()
        }
        (None, Some(_)) => {
            let detail =
                "is missing; the value is kept only where it is sent to the same place in the same way";
            return Err(Mistake::at(place, detail));
        }
        (None, None) => return Err(Mistake::at(place, "is missing; a new secret needs its value")),
    };
    Ok(UpstreamSecret {
        origin: new.origin,
        path_prefix: new.path_prefix,
        header: new.header,
        prefix: new.prefix,
        secret,
    })
}

/// A source that a client gives. Whoever holds the admin key is not thereby allowed to read files and variables of the
/// host, and sending one to a place of one's choice would be reading it.
fn apply_source(
    new: shape::SecretSource,
    old: Option<&SecretSource>,
    place: &str,
) -> Result<SecretSource, Mistake> {
    let (source, field) = match new {
        shape::SecretSource { value: Some(value), environment: None, file: None } => {
            return Ok(SecretSource::Value(value));
        }
        shape::SecretSource { environment: Some(name), .. } => {
            (SecretSource::Environment(name), "environment")
        }
        shape::SecretSource { file: Some(path), .. } => (SecretSource::File(path), "file"),
        shape::SecretSource { .. } => return Err(Mistake::at(format!("{place}/value"), "is missing")),
    };
    if old == Some(&source) {
        return Ok(source);
    }
    Err(Mistake::at(format!("{place}/{field}"), ONLY_THE_FILE))
}

/// The mistakes that the records' own check found, as pointers that begin with `base`.
pub(crate) fn mistakes(found: Vec<FieldMistake>, base: &str) -> Vec<Mistake> {
    let pointer = |path: &[String]| path.iter().fold(base.to_owned(), |pointer, name| pointer + &step(name));
    found.into_iter().map(|mistake| Mistake::at(pointer(&mistake.path), mistake.message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings(value: Value) -> TenantSettings {
        serde_json::from_value(value).unwrap()
    }

    fn old() -> TenantSettings {
        settings(json!({
            "state": "suspended",
            "api_keys": [{ "id": "k", "hash": "canary-hash" }],
            "issuers": [
                { "issuer": "i", "audience": "a", "secret": { "value": "canary-hs256" } },
                { "issuer": "j", "audience": "a", "jwks": r#"{"keys":[{"kty":"oct","k":"canary-oct"}]}"# },
                { "issuer": "l", "audience": "a", "jwks": r#"{"keys":[{"kty":"EC","x":"1"}]}"# }
            ],
            "variables": { "token": "canary-variable", "model": "m", "once": { "sealed": "v1.canary-sealed" } },
            "secrets": {
                "up": { "origin": "https://a.test", "secret": { "value": "canary-upstream" } },
                "env": { "origin": "https://a.test", "path_prefix": "/e", "secret": { "environment": "E" } }
            },
            "limits": { "requests_per_second": 5 },
            "isolation": "request"
        }))
    }

    fn shown() -> Value {
        serde_json::to_value(show(&old(), |name| name == "token")).unwrap()
    }

    fn applied(change: impl FnOnce(&mut Value)) -> Result<TenantSettings, Vec<(String, String)>> {
        let mut value = shown();
        change(&mut value);
        let mistakes =
            |list: Vec<Mistake>| list.into_iter().map(|m| (m.pointer.unwrap(), m.detail)).collect();
        apply(serde_json::from_value(value).unwrap(), &old(), "").map_err(mistakes)
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_is_taken_back_as_it_is() {
        let text = shown().to_string();
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.contains(r#""once":null,"token":null"#) && text.contains(r#""environment":"E""#),
            "{text}"
        );
        assert_eq!(applied(|_| {}), Ok(old()));
    }

    #[test]
    fn a_state_that_is_left_out_stays() {
        let settings = applied(|value| drop(value.as_object_mut().unwrap().remove("state"))).unwrap();
        assert_eq!(settings.state, TenantState::Suspended);
    }

    #[test]
    fn a_hidden_value_is_kept_only_for_what_it_belongs_to() {
        #[track_caller]
        fn check(pointer: &str, value: Value, place: &str, part: &str) {
            let found = applied(|shown| *shown.pointer_mut(pointer).unwrap() = value).unwrap_err();
            assert!(found.len() == 1 && found[0].0 == place && found[0].1.contains(part), "{found:?}");
        }
        let elsewhere = "kept only where it is sent";
        check("/secrets/up/origin", json!("https://evil.test"), "/secrets/up/secret", elsewhere);
        check("/secrets/up/header", json!("x-echo"), "/secrets/up/secret", elsewhere);
        check("/secrets/up/path_prefix", json!("/echo"), "/secrets/up/secret", elsewhere);
        check(
            "/secrets",
            json!({ "new": { "origin": "https://a.test" } }),
            "/secrets/new/secret",
            "new secret",
        );
        check("/issuers/0/issuer", json!("z"), "/issuers/0", "missing");
        check("/issuers/0/audience", json!("z"), "/issuers/0", "missing");
        check("/variables", json!({ "x/y": null }), "/variables/x~1y", "there is none");
    }

    #[test]
    fn a_client_cannot_have_files_and_variables_of_the_host_read() {
        #[track_caller]
        fn check(pointer: &str, value: Value, place: &str) {
            let found = applied(|shown| *shown.pointer_mut(pointer).unwrap() = value).unwrap_err();
            assert_eq!(found, [(place.to_owned(), ONLY_THE_FILE.to_owned())]);
        }
        check("/secrets/env/secret", json!({ "environment": "HOME" }), "/secrets/env/secret/environment");
        check("/secrets/env/secret", json!({ "file": "/etc/passwd" }), "/secrets/env/secret/file");
        let issuer = |extra: &str, value: Value| json!([{ "issuer": "i", "audience": "a", extra: value }]);
        check("/issuers", issuer("secret", json!({ "file": "x" })), "/issuers/0/secret/file");
        check("/issuers", issuer("jwks_file", json!("x")), "/issuers/0/jwks_file");
    }

    #[test]
    fn a_given_value_goes_before_what_there_is() {
        let settings = applied(|shown| {
            shown["secrets"]["up"]["origin"] = json!("https://b.test");
            shown["secrets"]["up"]["secret"] = json!({ "value": "new" });
            shown["variables"]["token"] = json!("new");
        })
        .unwrap();
        assert_eq!(settings.secrets["up"].secret, SecretSource::Value("new".into()));
        assert_eq!(settings.variables["token"], "new".into());
    }

    #[test]
    fn mistakes_of_records_become_pointers() {
        let found = mistakes(vec![FieldMistake::new(&["secrets", "a/b", "origin"], "m")], "/settings");
        assert_eq!(found, [Mistake::at("/settings/secrets/a~1b/origin", "m")]);
    }
}
