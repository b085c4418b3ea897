//! The files a measured program is started with: spin.toml, the runtime configuration, tenants.toml.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use toml::{Table, Value};

use crate::tenants::api_key::ApiKey;

/// A tenant of a measurement.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: ApiKey,
    pub(crate) suspended: bool,
    /// Lines of its `[limits]`.
    pub(crate) limits: String,
    /// Its `[[issuers]]`, whole.
    pub(crate) issuers: Vec<Issuer>,
}

/// Who signs tokens for a tenant.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) audience: String,
    pub(crate) keys: IssuerKeys,
}

#[derive(Clone)]
pub(crate) enum IssuerKeys {
    /// HS256.
    Secret(String),
    /// A key set, JSON text.
    Jwks(String),
}

impl Tenant {
    pub(crate) fn new(id: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self {
            id: id.into(),
            key: ApiKey::generate()?,
            suspended: false,
            limits: String::new(),
            issuers: Vec::new(),
        })
    }

    pub(crate) fn with_limits(self, limits: &str) -> Self {
        Self { limits: limits.to_owned(), ..self }
    }
}

/// Tenants named `PREFIX-00000` and so on.
pub(crate) fn numbered_tenants(prefix: &str, count: u32) -> anyhow::Result<Vec<Tenant>> {
    (0..count).map(|number| Tenant::new(format!("{prefix}-{number:05}"))).collect()
}

/// tenants.toml.
pub(crate) fn tenants_toml<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> String {
    let mut text = String::new();
    for Tenant { id, key, suspended, limits, issuers } in tenants {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[tenant.{id}]");
        if *suspended {
            text.push_str("state = \"suspended\"\n");
        }
        let _ = writeln!(text, "[[tenant.{id}.api_keys]]\nid = \"{}\"\nhash = \"{}\"", key.id, key.hash());
        if !limits.is_empty() {
            let _ = writeln!(text, "[tenant.{id}.limits]\n{limits}");
        }
        for Issuer { name, audience, keys } in issuers {
            let _ = writeln!(
                text,
                "[[tenant.{id}.issuers]]\nissuer = \"{name}\"\naudience = \"{audience}\"\n{}",
                keys.toml()
            );
        }
        text.push('\n');
    }
    text
}

impl IssuerKeys {
    fn toml(&self) -> String {
        match self {
            Self::Secret(secret) => format!("secret = {{ value = \"{secret}\" }}"),
            Self::Jwks(jwks) => format!("jwks = '{jwks}'"),
        }
    }
}

/// What every guest may use: a store, and calls to the application itself.
const GUESTS_MAY: &str = "key_value_stores = [\"default\"]\nallowed_outbound_hosts = [\"http://self\"]\n";

/// A component that is served beside the application's own: `/NAME/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    /// With hyphens, as in spin.toml.
    pub(crate) name: String,
}

impl Guest {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Cargo names the files of examples with underscores.
    fn file(&self) -> String {
        format!("{}.wasm", self.name.replace('-', "_"))
    }
}

/// The application's spin.toml with guests beside its own functions, and with absolute paths, so that it can stand in
/// any folder.
///
/// # Errors
/// A manifest that is none, or a component that has not been built.
pub(crate) fn manifest(application: &Path, guests_folder: &Path, guests: &[Guest]) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(application)
        .with_context(|| format!("could not read {}", application.display()))?;
    let folder = application.parent().unwrap_or(Path::new("."));
    let mut manifest: Table =
        text.parse().with_context(|| format!("{} is no manifest", application.display()))?;
    if let Some(Value::Table(components)) = manifest.get_mut("component") {
        for (name, component) in components {
            let Value::Table(component) = component else { continue };
            // It is run where it was built.
            component.remove("build");
            if let Some(Value::String(source)) = component.get_mut("source") {
                *source = built(&folder.join(&*source), name, "`waggle build` makes it")?;
            }
        }
    }
    let mut text = toml::to_string(&manifest).context("the manifest could not be written")?;
    for guest in guests {
        let help = "`cargo build --examples` in tests/guests makes it";
        let source = built(&guests_folder.join(guest.file()), &guest.name, help)?;
        let name = &guest.name;
        let _ = write!(
            text,
            "\n[[trigger.http]]\nroute = \"/{name}/...\"\ncomponent = \"{name}\"\n\
             [component.{name}]\nsource = '{source}'\n{GUESTS_MAY}"
        );
    }
    Ok(text)
}

fn built(path: &Path, component: &str, help: &str) -> anyhow::Result<String> {
    let Ok(path) = path.canonicalize() else {
        bail!("the component {component} is not at {}; {help}", path.display());
    };
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("the path {} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_written_as_waggle_reads_them() {
        let mut tenant = Tenant::new("bank").unwrap().with_limits("requests_per_second = 5");
        tenant.issuers = vec![
            Issuer {
                name: "https://a".to_owned(),
                audience: "w".to_owned(),
                keys: IssuerKeys::Secret("s".repeat(32)),
            },
            Issuer {
                name: "https://b".to_owned(),
                audience: "w".to_owned(),
                keys: IssuerKeys::Jwks(r#"{"keys":[]}"#.to_owned()),
            },
        ];
        let other = Tenant { suspended: true, ..Tenant::new("shop").unwrap() };
        let parsed: Table = tenants_toml([&tenant, &other]).parse().unwrap();
        let bank = &parsed["tenant"]["bank"];
        assert_eq!(bank["api_keys"][0]["id"].as_str(), Some(tenant.key.id.as_str()));
        assert_eq!(bank["api_keys"][0]["hash"].as_str().map(str::len), Some(64));
        assert_eq!(bank["limits"]["requests_per_second"].as_integer(), Some(5));
        assert_eq!(bank["issuers"][0]["secret"]["value"].as_str().map(str::len), Some(32));
        assert_eq!(bank["issuers"][1]["jwks"].as_str(), Some(r#"{"keys":[]}"#));
        assert!(bank.get("state").is_none());
        assert_eq!(parsed["tenant"]["shop"]["state"].as_str(), Some("suspended"));
        assert!(!tenants_toml([&tenant]).contains(&tenant.key.text), "the file holds no key");
    }

    #[test]
    fn numbered_tenants_have_ids_and_keys_of_their_own() {
        let tenants = numbered_tenants("t", 3).unwrap();
        let ids: Vec<_> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(ids, ["t-00000", "t-00001", "t-00002"]);
        assert!(tenants[0].key != tenants[1].key);
    }

    #[test]
    fn a_manifest_serves_the_application_and_the_guests_from_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["own.wasm", "endless_loop.wasm"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let application = folder.path().join("spin.toml");
        std::fs::write(
            &application,
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[[trigger.http]]\nroute = \"/own\"\n\
             component = \"own\"\n[component.own]\nsource = \"own.wasm\"\n[component.own.build]\ncommand = \"x\"\n",
        )
        .unwrap();
        let guests = [Guest::new("endless-loop")];
        let parsed: Table = manifest(&application, folder.path(), &guests).unwrap().parse().unwrap();
        let own = &parsed["component"]["own"];
        assert!(Path::new(own["source"].as_str().unwrap()).is_absolute() && own.get("build").is_none());
        assert_eq!(parsed["trigger"]["http"][1]["route"].as_str(), Some("/endless-loop/..."));
        let guest = &parsed["component"]["endless-loop"];
        assert!(guest["source"].as_str().unwrap().ends_with("endless_loop.wasm"));
        assert_eq!(guest["key_value_stores"][0].as_str(), Some("default"));
        let error = manifest(&application, folder.path(), &[Guest::new("gone")]).unwrap_err().to_string();
        assert!(error.contains("component gone") && error.contains("tests/guests"), "{error}");
    }
}
