//! What a tenant's settings must keep to: every mistake is found, each with the path of its field.

use super::{Tenant, TenantSettings, UpstreamSecret};
use crate::api_key::{ApiKey, CredentialHash, KeyId};
use crate::{NAME_BYTES_MAX, SECRET_BYTES_MAX, SecretSource, TenantVariable};
use std::collections::HashSet;
use std::fmt;

/// The most API keys of a tenant.
pub const API_KEYS_MAX: usize = 100;
/// The most issuers of a tenant.
pub const ISSUERS_MAX: usize = crate::ISSUERS_PER_TENANT_MAX;
/// The most variables of a tenant.
pub const VARIABLES_MAX: usize = 100;
/// The most bytes of a variable's value.
pub const VARIABLE_BYTES_MAX: usize = 64 * 1024;
/// The most upstream secrets of a tenant.
pub const SECRETS_MAX: usize = 50;
/// The most entries of `allowed_outbound_hosts`, of `functions` and of `models`.
pub const LIST_ENTRIES_MAX: usize = 1_000;
/// The most bytes of one of them.
pub const LIST_ENTRY_BYTES_MAX: usize = 512;
/// The most scopes of an API key.
pub const SCOPES_MAX: usize = 50;
/// The most bytes of a scope.
pub const SCOPE_BYTES_MAX: usize = 100;
/// The most bytes of the name of a variable or of a secret.
const IDENTIFIER_BYTES_MAX: usize = 64;
/// The most bytes of an upstream secret's path prefix.
const PATH_BYTES_MAX: usize = 1_024;
/// The most bytes of an upstream secret's header name, and of what stands before its value.
const HEADER_BYTES_MAX: usize = 64;

/// The most bytes of a sealed secret or variable: base64 of the longest one, and what goes with it.
const SEALED_BYTES_MAX: usize = SECRET_BYTES_MAX / 3 * 4 + 256;

/// Header fields whose meaning belongs to the connection or the message, not to a credential (RFC 9110, section 7.6.1).
const HEADERS_NEVER: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMistake {
    /// Where it stands in [`TenantSettings`]: names, and positions in lists counted from 0.
    pub path: Vec<String>,
    /// What is wrong and what would be right; it repeats no secret.
    pub message: String,
}

impl FieldMistake {
    /// A mistake at `path`.
    #[must_use]
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|&part| part.to_owned()).collect(), message: message.into() }
    }
}

impl fmt::Display for FieldMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)
    }
}

impl Tenant {
    /// All that is wrong with the settings. Nothing is read or fetched; whether functions, models and hosts exist is for
    /// the application to say.
    #[must_use]
    pub fn check(&self) -> Vec<FieldMistake> {
        let mut found = Mistakes(Vec::new());
        let TenantSettings { name, api_keys, limits, functions, models, allowed_outbound_hosts, .. } =
            &self.settings;
        check_name(&mut found, &["name"], name);
        check_api_keys(&mut found, api_keys);
        check_issuers(&mut found, &self.settings);
        check_variables(&mut found, &self.settings);
        check_secrets(&mut found, &self.settings);
        check_list(&mut found, "allowed_outbound_hosts", allowed_outbound_hosts.as_deref());
        check_list(&mut found, "functions", functions.as_deref());
        check_list(&mut found, "models", models.as_deref());
        check_models(&mut found, models.as_deref());
        if self.settings.answer_cache_s.is_some_and(|seconds| seconds > ANSWER_CACHE_S_MAX) {
            found.add(&["answer_cache_s"], format!("it must be from 0 to {ANSWER_CACHE_S_MAX} (a week)"));
        }
        if let Err(message) = limits.validate() {
            // The sentence begins with the field's name.
            let field = message.split('`').nth(1).unwrap_or_default();
            found.add(&["limits", field], message.clone());
        }
        found.0
    }
}

/// The longest time that answers are kept, seconds.
const ANSWER_CACHE_S_MAX: u64 = 604_800;

struct Mistakes(Vec<FieldMistake>);

impl Mistakes {
    fn add(&mut self, path: &[&str], message: impl Into<String>) {
        self.0.push(FieldMistake::new(path, message));
    }

    /// Adds a mistake unless there are at most `most`.
    fn count(&mut self, field: &str, count: usize, most: usize) {
        if count > most {
            self.add(&[field], format!("there are {count}; at most {most} are allowed"));
        }
    }
}

fn check_name(found: &mut Mistakes, path: &[&str], name: &str) {
    if name.len() > NAME_BYTES_MAX {
        found.add(path, format!("it has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len()));
    }
    if name.chars().any(char::is_control) {
        found.add(path, "it holds a control character, such as a line end");
    }
}

fn check_api_keys(found: &mut Mistakes, keys: &[ApiKey]) {
    found.count("api_keys", keys.len(), API_KEYS_MAX);
    let (mut ids, mut hashes) = (HashSet::new(), HashSet::new());
    for (index, key) in keys.iter().enumerate() {
        let index = index.to_string();
        let at = |field| ["api_keys", index.as_str(), field];
        if KeyId::new(&key.id).is_none() {
            found.add(&at("id"), "it is not 12 characters of a-z and 2-7");
        } else if !ids.insert(&key.id) {
            found.add(&at("id"), format!("another key of the tenant has the id `{}`", key.id));
        }
        if CredentialHash::from_hex(&key.hash).is_none() {
            found.add(&at("hash"), "it is not a SHA-256: 64 digits of 0-9 and a-f");
        } else if !hashes.insert(&key.hash) {
            found.add(&at("hash"), "another key of the tenant has this hash");
        }
        check_name(found, &at("name"), &key.name);
        check_scopes(found, &at("scopes"), &key.scopes);
        if key.expires_at.is_some_and(|expires_at| expires_at < key.created_at) {
            found.add(&at("expires_at"), "it is before `created_at`");
        }
    }
}

/// RFC 6749, section 3.3.
fn check_scopes(found: &mut Mistakes, path: &[&str], scopes: &[String]) {
    if scopes.len() > SCOPES_MAX {
        found.add(path, format!("there are {}; at most {SCOPES_MAX} are allowed", scopes.len()));
    }
    let plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let well_formed =
        |scope: &String| (1..=SCOPE_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(plain);
    if !scopes.iter().all(well_formed) {
        found.add(
            path,
            format!("a scope has 1 to {SCOPE_BYTES_MAX} visible ASCII characters without `\"` and `\\`"),
        );
    }
}

fn check_issuers(found: &mut Mistakes, settings: &TenantSettings) {
    found.count("issuers", settings.issuers.len(), ISSUERS_MAX);
    let mut names = HashSet::new();
    for (index, issuer) in settings.issuers.iter().enumerate() {
        let index = index.to_string();
        if let Err(message) = issuer.check() {
            found.add(&["issuers", &index], message);
        }
        if !names.insert((&issuer.issuer, &issuer.audience)) {
            found.add(
                &["issuers", &index],
                "another issuer of the tenant has the same `issuer` and `audience`",
            );
        }
        if let Some(source) = &issuer.secret {
            check_source(found, &["issuers", &index, "secret"], source);
        }
    }
}

fn check_variables(found: &mut Mistakes, settings: &TenantSettings) {
    found.count("variables", settings.variables.len(), VARIABLES_MAX);
    for (name, value) in &settings.variables {
        check_identifier(found, &["variables", name], name);
        let most = match value {
            TenantVariable::Plain(_) => VARIABLE_BYTES_MAX,
            TenantVariable::Sealed(_) => SEALED_BYTES_MAX,
        };
        if value.len() > most {
            let length = value.len();
            found.add(
                &["variables", name],
                format!("the value has {length} bytes; at most {most} are allowed"),
            );
        }
    }
}

fn check_identifier(found: &mut Mistakes, path: &[&str], name: &str) {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX || !name.chars().all(plain) {
        found.add(
            path,
            format!("a name here has 1 to {IDENTIFIER_BYTES_MAX} characters of a-z, 0-9, '-' and '_'"),
        );
    }
}

fn check_secrets(found: &mut Mistakes, settings: &TenantSettings) {
    found.count("secrets", settings.secrets.len(), SECRETS_MAX);
    let mut places = HashSet::new();
    for (name, secret) in &settings.secrets {
        check_identifier(found, &["secrets", name], name);
        check_upstream_secret(found, name, secret);
        let header = secret.header.to_ascii_lowercase();
        if !places.insert((&secret.origin, &secret.path_prefix, header)) {
            found.add(
                &["secrets", name],
                "another secret has the same `origin`, `path_prefix` and `header`; only one can be sent",
            );
        }
    }
}

fn check_upstream_secret(found: &mut Mistakes, name: &str, secret: &UpstreamSecret) {
    let at = |field| ["secrets", name, field];
    if let Err(message) = check_origin(&secret.origin) {
        found.add(&at("origin"), message);
    }
    let path = &secret.path_prefix;
    if !path.starts_with('/') || path.len() > PATH_BYTES_MAX || !path.bytes().all(is_path_byte) {
        found.add(
            &at("path_prefix"),
            format!("it is not a path: `/`, then at most {PATH_BYTES_MAX} bytes without space, `?` and `#`"),
        );
    }
    let header = &secret.header;
    if !(1..=HEADER_BYTES_MAX).contains(&header.len()) || !header.bytes().all(is_token_byte) {
        found.add(&at("header"), "it is not the name of a header field");
    } else if HEADERS_NEVER.iter().any(|never| header.eq_ignore_ascii_case(never)) {
        found.add(&at("header"), format!("`{header}` belongs to the connection and cannot hold a secret"));
    }
    if secret.prefix.len() > HEADER_BYTES_MAX || !secret.prefix.bytes().all(is_header_byte) {
        found.add(&at("prefix"), format!("it is not at most {HEADER_BYTES_MAX} visible ASCII characters"));
    }
    check_source(found, &at("secret"), &secret.secret);
}

fn check_source(found: &mut Mistakes, path: &[&str], source: &SecretSource) {
    let (what, text) = match source {
        SecretSource::Value(value) => ("the value", value),
        SecretSource::Environment(name) => ("the name of the environment variable", name),
        SecretSource::File(file) => ("the file's name", file),
        SecretSource::Sealed(sealed) => {
            if sealed.len() > SEALED_BYTES_MAX {
                found.add(path, "it is longer than a sealed secret can be");
            }
            return;
        }
    };
    if text.is_empty() {
        found.add(path, format!("{what} is empty"));
    }
    // A line end after it is no part of it.
    if text.len() > SECRET_BYTES_MAX + 2 {
        found.add(path, format!("{what} has more than {SECRET_BYTES_MAX} bytes"));
    }
    if matches!(source, SecretSource::Environment(_)) && text.contains(['\0', '=']) {
        found.add(path, "no environment variable has NUL or `=` in its name");
    }
}

/// `https://HOST` or `https://HOST:PORT`, or the same with `http`: nothing else, so that what is compared with a
/// request's origin later is one.
fn check_origin(origin: &str) -> Result<(), String> {
    let wrong = |what: &str| {
        Err(format!("{what}; an origin is scheme, host and port, such as `https://api.example.com`"))
    };
    let Some(authority) = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) else {
        return wrong("it does not begin with `https://` or `http://`");
    };
    if authority.len() > LIST_ENTRY_BYTES_MAX {
        return wrong("it is too long");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return wrong("what stands in brackets is not an IPv6 address"),
        },
        None => match authority.find(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        },
    };
    let host_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(host_byte) {
        return wrong("its host is not a name in lower case or an address; nothing may follow it but a port");
    }
    match port.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(()),
        None if port.is_empty() => Ok(()),
        _ => wrong("its port is not a number from 1 to 65535"),
    }
}

fn check_list(found: &mut Mistakes, field: &str, list: Option<&[String]>) {
    let Some(list) = list else { return };
    found.count(field, list.len(), LIST_ENTRIES_MAX);
    let mut seen = HashSet::new();
    for (index, entry) in list.iter().enumerate() {
        let index = index.to_string();
        if !(1..=LIST_ENTRY_BYTES_MAX).contains(&entry.len()) || entry.chars().any(char::is_control) {
            found.add(
                &[field, &index],
                format!("an entry has 1 to {LIST_ENTRY_BYTES_MAX} bytes and no control characters"),
            );
        } else if !seen.insert(entry) {
            found.add(&[field, &index], format!("`{entry}` is already in the list"));
        }
    }
}

fn check_models(found: &mut Mistakes, models: Option<&[String]>) {
    for (index, model) in models.unwrap_or_default().iter().enumerate() {
        if model.find('*').is_some_and(|star| star + 1 < model.len()) {
            found.add(
                &["models", &index.to_string()],
                format!("`{model}` has a `*` before its end; it may only stand at the end, for any rest"),
            );
        }
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte)
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a header's value may hold, of ASCII (RFC 9110, section 5.5).
pub(crate) fn is_header_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}
