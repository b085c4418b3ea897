//! `waggle tenant`

use crate::admin_client::{Connection, block_on, seconds};
use crate::moment::moment;
use crate::screen;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use waggle_admin::{AdminClient, ClientError, read_settings};
use waggle_tenancy::TenantId;

/// Where `waggle up` serves when nothing else is known.
const APPLICATION_URL: &str = "http://127.0.0.1:3000";

#[derive(Args)]
pub(crate) struct Tenant {
    #[command(flatten)]
    connection: Connection,
    /// Print the answers of the admin API, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create a tenant and its first API key
    Add(Add),
    /// List all tenants
    List,
    /// Show a tenant: its settings, its keys, what it uses
    Show { id: TenantId },
    /// Replace a tenant's settings by those of a file
    Set {
        id: TenantId,
        /// Settings as TOML or JSON; secrets may stand in variables and files, which are read here
        file: PathBuf,
    },
    /// Refuse a tenant's new requests from now on
    Suspend { id: TenantId },
    /// Serve a suspended tenant again
    Resume { id: TenantId },
    /// Remove a tenant
    Remove(Remove),
    /// Make another API key for a tenant
    AddKey(AddKey),
    /// Replace an API key by a new one
    RotateKey(RotateKey),
    /// End an API key at once
    RevokeKey {
        id: TenantId,
        /// The key's id, or the beginning of the key
        #[arg(value_parser = key_id)]
        key: String,
    },
}

#[derive(Args)]
struct Add {
    /// 1 to 64 of a-z, 0-9, '-' and '_'; it cannot be changed later
    id: TenantId,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// Settings as TOML or JSON; secrets may stand in variables and files, which are read here
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Make no API key
    #[arg(long)]
    no_key: bool,
}

#[derive(Args)]
struct Remove {
    id: TenantId,
    /// Erase all its data first, and prove it
    #[arg(long)]
    erase: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args)]
struct AddKey {
    id: TenantId,
    /// A name for people
    #[arg(long, default_value = "")]
    name: String,
    /// What its holder may do, told to functions; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// How long it counts, such as 90d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    expires_in: Option<u64>,
}

#[derive(Args)]
struct RotateKey {
    id: TenantId,
    /// The key's id, or the beginning of the key [default: the tenant's only one]
    #[arg(value_parser = key_id)]
    key: Option<String>,
    /// How long the old key still counts, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "0s")]
    grace: u64,
}

impl Tenant {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let command = Command { client: self.connection.client()?, json: self.json };
        block_on(command.carry_out(self.action))?;
        Ok(ExitCode::SUCCESS)
    }
}

struct Command {
    client: AdminClient,
    json: bool,
}

impl Command {
    async fn carry_out(self, action: Action) -> Result<()> {
        match action {
            Action::Add(add) => self.add(add).await,
            Action::List => self.list().await,
            Action::Show { id } => self.show(&id).await,
            Action::Set { id, file } => {
                let settings = read_settings(&file, id.as_str())?;
                let tenant = self.client.put(&format!("/tenants/{id}"), &settings).await?;
                self.tell(&tenant, || format!("The settings of `{id}` are in force."))
            }
            Action::Suspend { id } => {
                let tenant = self.suspend(&id).await?;
                self.tell(&tenant, || {
                    let problem = tenant["problem"].as_str();
                    let problem =
                        problem.map(|problem| format!("\nIt is not in force on this host: {problem}"));
                    let problem = problem.unwrap_or_default();
                    format!("`{id}` is suspended; `waggle tenant resume {id}` ends that.{problem}")
                })
            }
            Action::Resume { id } => {
                let tenant = self.client.post(&format!("/tenants/{id}/resume"), &json!({})).await?;
                self.tell(&tenant, || format!("`{id}` is served."))
            }
            Action::Remove(remove) => self.remove(remove).await,
            Action::AddKey(add) => {
                let key = self.add_key(&add.id, &add.name, &add.scope, add.expires_in).await?;
                self.tell(&key, || self.new_key(&key))
            }
            Action::RotateKey(rotate) => self.rotate_key(rotate).await,
            Action::RevokeKey { id, key } => {
                let answer = self.client.delete(&format!("/tenants/{id}/keys/{key}")).await?;
                self.tell(&answer, || format!("The key wk_{key} of `{id}` no longer counts."))
            }
        }
    }

    async fn add(&self, add: Add) -> Result<()> {
        let id = &add.id;
        let mut settings = match &add.settings {
            Some(file) => read_settings(file, id.as_str())?,
            None => json!({}),
        };
        if let (Some(name), Some(settings)) = (add.name, settings.as_object_mut()) {
            settings.insert("name".to_owned(), json!(name));
        }
        let tenant =
            self.client.post("/tenants", &json!({ "id": id.as_str(), "settings": settings })).await?;
        if add.no_key {
            return self.tell(&tenant, || {
                format!("The tenant `{id}` is there; `waggle tenant add-key {id}` makes an API key.")
            });
        }
        let key = self.add_key(id, "first", &[], None).await;
        let key = key.with_context(|| {
            format!("the tenant `{id}` is there, but has no key; try `waggle tenant add-key {id}`")
        })?;
        self.tell(&json!({ "tenant": tenant, "key": key }), || {
            format!("The tenant `{id}` is there.\n\n{}", self.new_key(&key))
        })
    }

    async fn add_key(
        &self,
        id: &TenantId,
        name: &str,
        scopes: &[String],
        expires_in_s: Option<u64>,
    ) -> Result<Value> {
        let key = json!({ "name": name, "scopes": scopes, "expires_in_s": expires_in_s });
        Ok(self.client.post(&format!("/tenants/{id}/keys"), &key).await?)
    }

    async fn list(&self) -> Result<()> {
        let mut all: Vec<Value> = Vec::new();
        let mut path = "/tenants?limit=1000".to_owned();
        loop {
            let mut page = self.client.get(&path).await?;
            all.extend(page["tenants"].as_array_mut().map(std::mem::take).unwrap_or_default());
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/tenants?limit=1000&after={next}");
        }
        self.tell(&json!({ "tenants": all }), || match all.as_slice() {
            [] => "There are no tenants; `waggle tenant add ID` makes one.".to_owned(),
            tenants => tenants.iter().map(describe_tenant).collect(),
        })
    }

    async fn show(&self, id: &TenantId) -> Result<()> {
        let path = format!("/tenants/{id}");
        let tenant = self.client.get(&path).await?;
        let keys = self.client.get(&format!("{path}/keys")).await?;
        let usage = self.client.get(&format!("{path}/usage")).await?;
        let all = json!({ "tenant": tenant, "keys": keys["keys"], "usage": usage });
        // The shape is that of a settings file, so it is shown as what it is.
        let pretty = serde_json::to_string_pretty(&tenant["settings"])?;
        self.tell(&all, || {
            let mut out = format!("{id} (of the {})\n", text(&tenant["source"]));
            if let Some(problem) = tenant["problem"].as_str() {
                let _ = writeln!(out, "NOT IN FORCE: {problem}");
            }
            let _ = writeln!(out, "Settings\n{pretty}\nKeys");
            for key in keys["keys"].as_array().into_iter().flatten() {
                let _ = writeln!(out, "  {}", describe_key(key));
            }
            out.push_str("Usage\n");
            for (name, value) in usage.as_object().into_iter().flatten() {
                let _ = writeln!(out, "  {name}: {value}");
            }
            out
        })
    }

    async fn remove(&self, remove: Remove) -> Result<()> {
        let Remove { id, erase, yes } = remove;
        if !yes {
            confirm(&id, erase)?;
        }
        if erase {
            self.suspend_to_erase(&id).await?;
        }
        let query = if erase { "?erase=true" } else { "" };
        let answer = self.client.delete(&format!("/tenants/{id}{query}")).await?;
        self.tell(&answer, || {
            let mut out = format!("The tenant `{id}` is removed.\n");
            let erased = &answer["erased"];
            for store in erased["stores"].as_array().into_iter().flatten() {
                let (name, keys, bytes) = (text(&store["store"]), &store["keys"], &store["bytes"]);
                let remaining = &store["remaining"];
                let _ = writeln!(
                    out,
                    "  store {name}: {keys} keys, {bytes} bytes erased; a second look found {remaining}"
                );
            }
            if erase {
                let _ = writeln!(out, "  log files removed: {}", erased["log_files"]);
            } else {
                out.push_str("Its data is still there, and would be that of a new tenant of the same id.");
            }
            out
        })
    }

    async fn suspend(&self, id: &TenantId) -> Result<Value, ClientError> {
        self.client.post(&format!("/tenants/{id}/suspend"), &json!({})).await
    }

    /// What is erased must be suspended before. A record that cannot be read serves nobody anyway.
    async fn suspend_to_erase(&self, id: &TenantId) -> Result<(), ClientError> {
        match self.suspend(id).await {
            Err(error) if error.code() != Some("unreadable") => Err(error),
            _ => Ok(()),
        }
    }

    async fn rotate_key(&self, rotate: RotateKey) -> Result<()> {
        let RotateKey { id, key, grace } = rotate;
        let old = match key {
            Some(key) => key,
            None => self.only_key(&id).await?,
        };
        let path = format!("/tenants/{id}/keys/{old}/rotate");
        let key = self.client.post(&path, &json!({ "grace_s": grace })).await?;
        self.tell(&key, || {
            let end =
                if grace == 0 { "no longer counts".into() } else { format!("counts for {grace} s more") };
            format!("The key wk_{old} {end}.\n\n{}", self.new_key(&key))
        })
    }

    /// The one key that a tenant has and that still counts.
    async fn only_key(&self, id: &TenantId) -> Result<String> {
        let list = self.client.get(&format!("/tenants/{id}/keys")).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        let counts = |key: &&Value| key["expires_at"].as_u64().is_none_or(|expires_at| expires_at > now);
        let keys: Vec<&Value> = list["keys"].as_array().into_iter().flatten().filter(counts).collect();
        match keys.as_slice() {
            [key] => Ok(text(&key["id"]).to_owned()),
            [] => bail!("`{id}` has no API key that counts; `waggle tenant add-key {id}` makes one"),
            several => {
                let keys: Vec<String> =
                    several.iter().map(|key| format!("  {}", describe_key(key))).collect();
                bail!("`{id}` has several API keys; say which one:\n{}", keys.join("\n"))
            }
        }
    }

    /// A key that was just made, and what to do with it.
    fn new_key(&self, key: &Value) -> String {
        let (secret, url) = (text(&key["secret"]), self.client.application_url().unwrap_or(APPLICATION_URL));
        format!(
            "API key (it is not shown again):\n  {secret}\n\n\
             Try: curl {url}/v1/responses -H 'authorization: Bearer {secret}' \
             -H 'content-type: application/json' -d '{{\"input\":\"Hello\"}}'"
        )
    }

    /// Prints the answer: for programs as it is, for people what `say` makes of it.
    fn tell(&self, answer: &Value, say: impl FnOnce() -> String) -> Result<()> {
        screen::print(&if self.json { answer.to_string() } else { say() })
    }
}

/// Asks whether it is meant; whoever cannot be asked must say so beforehand.
fn confirm(id: &TenantId, erase: bool) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("this removes the tenant `{id}`; say --yes if that is meant");
    }
    let what = if erase { "and ALL ITS DATA" } else { "(its data stays)" };
    screen::prompt(&format!("This removes the tenant `{id}` {what}. Type its id to go on: "))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == id.as_str() { Ok(()) } else { bail!("nothing was removed") }
}

/// A line of the list.
fn describe_tenant(tenant: &Value) -> String {
    let problem = tenant["problem"].as_str().map(|problem| format!("  NOT IN FORCE: {problem}"));
    format!(
        "{:<24} {:<10} {:<6} {}{}\n",
        text(&tenant["id"]),
        text(&tenant["state"]),
        text(&tenant["source"]),
        shown(text(&tenant["name"])),
        problem.unwrap_or_default()
    )
}

fn describe_key(key: &Value) -> String {
    let scopes: Vec<&str> = key["scopes"].as_array().into_iter().flatten().map(text).collect();
    let time = |name: &str| key[name].as_u64().map_or_else(|| "never".to_owned(), moment);
    format!(
        "wk_{} {:?} scopes [{}], made {}, expires {}, last used {}",
        text(&key["id"]),
        text(&key["name"]),
        scopes.join(" "),
        time("created_at"),
        time("expires_at"),
        time("last_used_at")
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A name that cannot steer the terminal.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// The id of a key, also from the key or its visible beginning: `wk_ID_…`.
fn key_id(given: &str) -> Result<String, String> {
    let rest = given.strip_prefix("wk_").unwrap_or(given);
    let id = rest.split('_').next().unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("expected the id of an API key, such as wk_abcdefgh2345".to_owned());
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_id_or_its_beginning_or_itself() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(key_id(given).ok().as_deref(), expected, "{given}");
        };
        check("abcdefgh2345", Some("abcdefgh2345"));
        check("wk_abcdefgh2345", Some("abcdefgh2345"));
        check("wk_abcdefgh2345_c2Vj-cmV0_x", Some("abcdefgh2345"));
        for wrong in ["", "wk_", "a/b", "..", "wk__x"] {
            check(wrong, None);
        }
    }
}
