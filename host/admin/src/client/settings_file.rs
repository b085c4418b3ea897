//! A tenant's settings out of a file, as the API takes them.
//!
//! What a file may name and a request may not (environment variables and files with secrets) is read here, on the machine
//! of the one who asks, and sent as a value.

use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use waggle_secret::Secret;
use waggle_tenancy::SecretSource;

/// The most bytes of the file, and of a key set that it names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file gives no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    #[error("{} cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{} is neither TOML nor JSON by its name; call it FILE.toml or FILE.json", path.display())]
    Name { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("{}: {place}: {reason}", path.display())]
    Secret { path: PathBuf, place: String, reason: String },
}

/// Reads the settings of the tenant `id` from the file at `path`: the settings themselves, or the section `[tenant.ID]` of
/// a file like tenants.toml.
///
/// # Errors
/// When the file, or one that it names, cannot be read, or is no TOML or JSON.
pub fn read_settings(path: &Path, id: &str) -> Result<Value, SettingsFileError> {
    let text = text_of(path).map_err(|error| SettingsFileError::Read { path: path.to_owned(), error })?;
    let syntax = |reason: String| SettingsFileError::Syntax { path: path.to_owned(), reason };
    let mut settings: Value = match path.extension().and_then(|extension| extension.to_str()) {
        // Only the place and what was expected: the text around it may hold a secret.
        Some("toml") => toml::from_str(&text).map_err(|error| syntax(told(&error, &text)))?,
        Some("json") => serde_json::from_str(&text).map_err(|error| syntax(error.to_string()))?,
        _ => return Err(SettingsFileError::Name { path: path.to_owned() }),
    };
    if let Some(tenants) = settings.get_mut("tenant").and_then(Value::as_object_mut) {
        settings =
            tenants.remove(id).ok_or_else(|| syntax(format!("there is no section `[tenant.{id}]`")))?;
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let secret =
        |place: String, reason: String| SettingsFileError::Secret { path: path.to_owned(), place, reason };
    for (name, one) in settings.get_mut("secrets").and_then(Value::as_object_mut).into_iter().flatten() {
        resolve(one, base).map_err(|reason| secret(format!("secrets.{name}"), reason))?;
    }
    let issuers = settings.get_mut("issuers").and_then(Value::as_array_mut).into_iter().flatten();
    for (index, issuer) in issuers.enumerate() {
        let told = |reason| secret(format!("issuers[{index}]"), reason);
        resolve(issuer, base).map_err(told)?;
        resolve_key_set(issuer, base).map_err(told)?;
    }
    Ok(settings)
}

/// Puts the value in the place of a variable or file that holds the `secret` of `owner`. What is no source is left to the
/// server to tell.
fn resolve(owner: &mut Value, base: &Path) -> Result<(), String> {
    let Some(source) = owner.get_mut("secret") else { return Ok(()) };
    let Ok(parsed) = serde_json::from_value::<SecretSource>(source.clone()) else { return Ok(()) };
    if matches!(parsed, SecretSource::Environment(_) | SecretSource::File(_)) {
        let value: Secret = parsed.read(base).map_err(|error| error.to_string())?;
        *source = json!({ "value": value.expose() });
    }
    Ok(())
}

/// The same for the file of an issuer's key set.
fn resolve_key_set(issuer: &mut Value, base: &Path) -> Result<(), String> {
    let Some(issuer) = issuer.as_object_mut() else { return Ok(()) };
    let Some(file) = issuer.get("jwks_file").and_then(Value::as_str) else { return Ok(()) };
    let file = base.join(file);
    let jwks = text_of(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    issuer.remove("jwks_file");
    issuer.insert("jwks".to_owned(), json!(jwks));
    Ok(())
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn told(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Value, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("upstream.txt"), "from-file\n").unwrap();
        fs::write(dir.path().join("keys.json"), "{\"keys\":[]}").unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        read_settings(&path, "acme").map_err(|error| error.to_string())
    }

    #[test]
    fn files_that_hold_secrets_are_read_where_they_are() {
        let text = "name = 'Acme'\n[secrets.up]\norigin = 'https://a.test'\nsecret.file = 'upstream.txt'\n\
                    [[issuers]]\nissuer = 'i'\naudience = 'a'\njwks_file = 'keys.json'\n";
        let expected = json!({
            "name": "Acme",
            "secrets": { "up": { "origin": "https://a.test", "secret": { "value": "from-file" } } },
            "issuers": [{ "issuer": "i", "audience": "a", "jwks": "{\"keys\":[]}" }]
        });
        assert_eq!(read("s.toml", text), Ok(expected.clone()));
        let error = read("s.toml", "[secrets.up]\nsecret.file = 'none'").unwrap_err();
        assert!(error.contains("secrets.up") && error.contains("none"), "{error}");
    }

    #[test]
    fn json_and_a_section_of_tenants_toml_are_taken_too() {
        let check = |name: &str, text: &str| assert_eq!(read(name, text), Ok(json!({ "log_file": true })));
        check("s.json", r#"{ "log_file": true }"#);
        check("tenants.toml", "[tenant.acme]\nlog_file = true\n[tenant.other]\nname = 'x'\n");
        let error = read("tenants.toml", "[tenant.other]\nname = 'x'\n").unwrap_err();
        assert!(error.contains("no section `[tenant.acme]`"), "{error}");
    }

    #[test]
    fn variables_that_keep_their_value_stay_null() {
        let settings = read("s.json", r#"{ "variables": { "token": null } }"#).unwrap();
        assert_eq!(settings, json!({ "variables": { "token": null } }));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_repeats_nothing() {
        let error = read("s.toml", "name = 'a'\nsecret = canary\n").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("canary"), "{error}");
        assert!(read("s.yaml", "").unwrap_err().contains("FILE.toml"));
        assert!(read("s.json", "[1]").is_ok(), "what it should be is for the server to tell");
    }
}
