//! `waggle token`

use crate::admin_client::seconds;
use crate::screen;
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use waggle_secret::Secret;
use waggle_tenancy::{MintRequest, SecretSource, SigningKey, TenantId, mint};

#[derive(Args)]
pub(crate) struct Token {
    /// The tenant whose user the bearer is
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// The user: the claim `sub`
    #[arg(long)]
    user: String,
    /// The session: the claim `sid`
    #[arg(long)]
    session: Option<String>,
    /// A scope; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// How long it counts, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "1h")]
    lifetime: u64,
    /// The claim `iss`, as the tenant's issuer has it
    #[arg(long, value_name = "TEXT")]
    issuer: String,
    /// The claim `aud`, as the tenant's issuer has it
    #[arg(long, value_name = "TEXT")]
    audience: String,
    /// The key's id in the issuer's key set, where that has several
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,
    #[command(flatten)]
    key: Key,
}

/// What signs the token.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Key {
    /// The environment variable with the issuer's shared secret (HS256)
    #[arg(long, value_name = "VARIABLE")]
    secret_environment: Option<String>,
    /// The file with the issuer's shared secret (HS256)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// The file with the issuer's private key in PEM form (RS256, ES256, EdDSA)
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
}

impl Token {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let key = self.key.read()?;
        let key = match self.key_id {
            Some(id) => key.with_kid(id),
            None => key,
        };
        let request = MintRequest {
            tenant: self.tenant,
            issuer: self.issuer,
            audience: self.audience,
            user: self.user,
            session: self.session,
            scopes: self.scope.join(" "),
            lifetime_s: self.lifetime,
        };
        screen::print(&mint(&request, &key)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Key {
    fn read(self) -> Result<SigningKey> {
        if let Some(path) = self.private_key {
            let pem = std::fs::read_to_string(&path)
                .with_context(|| format!("the private key {} cannot be read", path.display()))?;
            let key = SigningKey::from_pem(&Secret::new(pem));
            return key.with_context(|| format!("{}", path.display()));
        }
        let source = match (self.secret_environment, self.secret_file) {
            (Some(variable), _) => SecretSource::Environment(variable),
            (None, file) => SecretSource::File(file.unwrap_or_default()),
        };
        Ok(SigningKey::from_secret(&source.read(Path::new(""))?)?)
    }
}
