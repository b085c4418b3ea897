//! `waggle tool`

use crate::admin_client::{Connection, block_on};
use crate::moment::moment;
use crate::screen;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use waggle_admin::AdminClient;
use waggle_tenancy::TenantId;
use waggle_tools::import::{self, Argument, Imported, Wanted};
use waggle_tools::{Grants, Kind, Limits, NewTool, Override, layout};

#[derive(Args)]
pub(crate) struct Tool {
    #[command(flatten)]
    connection: Connection,
    /// The tenant whose tools they are
    #[arg(long, env = "WAGGLE_TENANT", value_name = "ID", default_value = "default", global = true)]
    tenant: TenantId,
    /// Print the answers of the admin API, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add a tool, or another version of one: a component, HTTP requests, or an MCP server
    Add(Box<Add>),
    /// List all tools of the tenant
    List,
    /// Show a tool: what runs, what waits, and what that would change
    Show { name: String },
    /// Put the version that waits in force
    Accept(Read),
    /// Drop the version that waits
    Reject(Read),
    /// Let a disabled tool be called again
    Enable { name: String },
    /// Let a tool not be called from now on
    Disable { name: String },
    /// List what an MCP server can do anew
    Refresh { name: String },
    /// Remove a tool
    Remove { name: String },
}

#[derive(Args)]
struct Read {
    name: String,
    /// The digest of the version that was read [default: the one that is shown now]
    #[arg(long)]
    digest: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args)]
struct Add {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    detail: Detail,
    #[command(flatten)]
    may: May,
    /// Let it run at once: you have read what it may do
    #[arg(long)]
    accept: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A component (FILE.wasm), or a tool as the admin API takes it (FILE.json)
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Operations of an OpenAPI 3 document, JSON or YAML
    #[arg(long, value_name = "FILE")]
    openapi: Option<PathBuf>,
    /// One request, such as `GET https://api.example.com/orders/{id}?expand={expand}`
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// An MCP server, by its address
    #[arg(long, value_name = "URL")]
    mcp: Option<String>,
    /// A component out of an OCI image layout, by its folder
    #[arg(long, value_name = "DIR")]
    oci: Option<PathBuf>,
}

#[derive(Args)]
struct Detail {
    /// What it is called [default: by the file, or the host]
    #[arg(long)]
    name: Option<String>,
    /// For people and models
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// As its author counts
    #[arg(long, value_name = "VERSION")]
    tool_version: Option<String>,
    /// Of an OpenAPI document: an operationId, or 'METHOD /path'; may be repeated [default: all]
    #[arg(long, value_name = "OPERATION", requires = "openapi")]
    operation: Vec<String>,
    /// Where the server is, if not where the document says
    #[arg(long, value_name = "URL", requires = "openapi")]
    base_url: Option<String>,
    /// Of a request: NAME, NAME:TYPE, 'NAME?:TYPE' if it may be left out; may be repeated
    #[arg(long, value_name = "ARGUMENT", requires = "request")]
    argument: Vec<Argument>,
    /// Of an OCI layout: the image's tag
    #[arg(long, value_name = "TAG", requires = "oci")]
    tag: Option<String>,
    /// Of a component or an MCP server: a function that is meant; may be repeated [default: all]
    #[arg(long, value_name = "FUNCTION")]
    only: Vec<String>,
    /// A function each call of which a person approves; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    needs_approval: Vec<String>,
    /// A function that nobody has to approve; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    no_approval: Vec<String>,
    /// A function that changes nothing outside; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    no_side_effects: Vec<String>,
}

/// What it may reach and use up.
#[derive(Args)]
struct May {
    /// An origin it may call, such as `https://api.example.com`; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    grant_outbound: Vec<String>,
    /// A secret of the tenant that the host puts on, by name; may be repeated
    #[arg(long, value_name = "NAME")]
    grant_secret: Vec<String>,
    /// A store it may use, by label; may be repeated
    #[arg(long, value_name = "LABEL")]
    grant_key_value: Vec<String>,
    /// Memory of a call, bytes
    #[arg(long, value_name = "BYTES")]
    memory_bytes_max: Option<u64>,
    /// Processor time of a call, milliseconds
    #[arg(long, value_name = "MS")]
    cpu_ms_max: Option<u64>,
    /// How long a call may take, milliseconds
    #[arg(long, value_name = "MS")]
    time_ms_max: Option<u64>,
    /// How long its answer may be, bytes
    #[arg(long, value_name = "BYTES")]
    output_bytes_max: Option<u64>,
    /// How often a call may ask something of the network
    #[arg(long, value_name = "N")]
    outbound_calls_max: Option<u64>,
    /// Calls at once, on each host
    #[arg(long, value_name = "N")]
    concurrent_calls_max: Option<u64>,
}

impl Tool {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let command = Command { client: self.connection.client()?, tenant: self.tenant, json: self.json };
        block_on(command.carry_out(self.action))?;
        Ok(ExitCode::SUCCESS)
    }
}

struct Command {
    client: AdminClient,
    tenant: TenantId,
    json: bool,
}

impl Command {
    async fn carry_out(self, action: Action) -> Result<()> {
        match action {
            Action::Add(add) => self.add(*add).await,
            Action::List => self.list().await,
            Action::Show { name } => {
                let tool = self.client.get(&self.path(&name)).await?;
                self.tell(&tool, || describe(&tool))
            }
            Action::Accept(read) => self.settle(read, "accept").await,
            Action::Reject(read) => self.settle(read, "reject").await,
            Action::Enable { name } => self.post(&name, "enable", "may be called").await,
            Action::Disable { name } => self.post(&name, "disable", "is not called any more").await,
            Action::Refresh { name } => {
                let tool = self.client.post(&format!("{}/refresh", self.path(&name)), &json!({})).await?;
                self.tell(&tool, || describe(&tool))
            }
            Action::Remove { name } => {
                let answer = self.client.delete(&self.path(&name)).await?;
                self.tell(&answer, || format!("The tool `{name}` of `{}` is removed.", self.tenant))
            }
        }
    }

    fn path(&self, name: &str) -> String {
        format!("/tenants/{}/tools/{name}", self.tenant)
    }

    async fn add(&self, add: Add) -> Result<()> {
        let Add { what, detail, may, accept } = add;
        let Given { mut tool, component, notes } = given(&what, &detail)?;
        detail.apply(&mut tool);
        may.apply(&mut tool.grants, &mut tool.limits);
        tool.accept |= accept;
        if let Some(bytes) = component {
            let path = format!("/tenants/{}/components", self.tenant);
            let uploaded = self.client.upload(&path, "application/wasm", bytes.into()).await?;
            tool.digest = uploaded["digest"].as_str().map(str::to_owned);
        }
        let body = serde_json::to_value(&tool)?;
        let added = self.client.post(&format!("/tenants/{}/tools", self.tenant), &body).await?;
        self.tell(&added, || {
            let mut out = notes.iter().fold(String::new(), |mut out, note| {
                let _ = writeln!(out, "Note: {}", shown(note));
                out
            });
            out.push_str(&describe(&added));
            if !added["pending"].is_null() {
                let (name, tenant) = (text(&added["name"]), &self.tenant);
                let _ =
                    write!(out, "It runs when it is accepted: waggle tool accept {name} --tenant {tenant}");
            }
            out
        })
    }

    async fn list(&self) -> Result<()> {
        let list = self.client.get(&format!("/tenants/{}/tools", self.tenant)).await?;
        self.tell(&list, || {
            let tools = list["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut out: String = tools.iter().map(describe_line).collect();
            for name in list["unreadable"].as_array().into_iter().flatten() {
                let _ = writeln!(out, "{:<32} UNREADABLE: it can only be removed", shown(text(name)));
            }
            if out.is_empty() { "There are no tools; `waggle tool add` makes one.".to_owned() } else { out }
        })
    }

    /// Accepts or rejects what waits: what the digest names, else what is shown at this moment.
    async fn settle(&self, read: Read, action: &str) -> Result<()> {
        let path = self.path(&read.name);
        let tool = self.client.get(&path).await?;
        let shown_now = text(&tool["pending"]["digest"]);
        let body = match &read.digest {
            Some(digest) => json!({ "digest": digest }),
            None if shown_now.is_empty() => {
                bail!("no version of `{}` waits to be accepted or rejected", read.name)
            }
            None => json!({ "digest": shown_now, "revision": tool["revision"] }),
        };
        if action == "accept" && read.digest.is_none() && !read.yes {
            confirm(&tool)?;
        }
        let answer = self.client.post(&format!("{path}/{action}"), &body).await?;
        self.tell(&answer, || {
            let done = if action == "accept" { "is in force" } else { "is dropped" };
            format!("{}This version of `{}` {done}.", differences(&tool["pending"]), read.name)
        })
    }

    async fn post(&self, name: &str, action: &str, done: &str) -> Result<()> {
        let tool = self.client.post(&format!("{}/{action}", self.path(name)), &json!({})).await?;
        self.tell(&tool, || format!("The tool `{name}` of `{}` {done}.", self.tenant))
    }

    /// Prints the answer: for programs as it is, for people what `say` makes of it.
    fn tell(&self, answer: &Value, say: impl FnOnce() -> String) -> Result<()> {
        screen::print(&if self.json { answer.to_string() } else { say() })
    }
}

/// A tool as its file, document or address gives it.
struct Given {
    tool: NewTool,
    /// The bytes to be uploaded, of a component.
    component: Option<Vec<u8>>,
    notes: Vec<String>,
}

fn given(what: &What, detail: &Detail) -> Result<Given> {
    if let Some(file) = &what.openapi {
        let document = import::read(&read_file(file)?).with_context(|| file.display().to_string())?;
        let wanted = Wanted { operations: detail.operation.clone(), base_url: detail.base_url.clone() };
        let imported = import::openapi(&document, &wanted).with_context(|| file.display().to_string())?;
        return Ok(of_requests(imported, detail.name_or(&stem(file))));
    }
    if let Some(line) = &what.request {
        let Some(name) = &detail.name else { bail!("say what the tool is called, with --name") };
        let description = detail.description.as_deref().unwrap_or_default();
        return Ok(of_requests(import::declared(line, name, description, &detail.argument)?, name.clone()));
    }
    if let Some(url) = &what.mcp {
        let Some(name) = &detail.name else { bail!("say what the server is called here, with --name") };
        let tool = new_tool(name.clone(), Kind::Mcp { url: url.clone() });
        return Ok(Given { tool, component: None, notes: Vec::new() });
    }
    if let Some(folder) = &what.oci {
        let found = layout::component(folder, detail.tag.as_deref())?;
        let mut tool = new_tool(detail.name_or(&stem(folder)), Kind::Component);
        (tool.version, tool.description) = (found.version, found.description);
        return Ok(Given { tool, component: Some(found.bytes), notes: Vec::new() });
    }
    let Some(file) = &what.file else {
        bail!("say what is to be added: a file, or --openapi, --request, --mcp or --oci")
    };
    let bytes = read_file(file)?;
    if bytes.starts_with(b"\0asm") {
        let tool = new_tool(detail.name_or(&stem(file)), Kind::Component);
        return Ok(Given { tool, component: Some(bytes), notes: Vec::new() });
    }
    let tool = NewTool::parse(&bytes).map_err(|reason| {
        anyhow!("{} is neither a component nor a tool as JSON: {reason}", file.display())
    })?;
    Ok(Given { tool, component: None, notes: Vec::new() })
}

fn of_requests(imported: Imported, name: String) -> Given {
    let notes = imported.notes.clone();
    Given { tool: imported.into_tool(name), component: None, notes }
}

fn new_tool(name: String, kind: Kind) -> NewTool {
    NewTool {
        name,
        description: String::new(),
        version: String::new(),
        kind,
        digest: None,
        functions: Vec::new(),
        only: None,
        overrides: Default::default(),
        grants: Grants::default(),
        limits: Limits::default(),
        accept: false,
    }
}

/// A file that may be uploaded, or read whole.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes_max = waggle_tools::COMPONENT_BYTES_MAX as u64;
    let length = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    if length > bytes_max {
        bail!("{} has {length} bytes; at most {bytes_max} are allowed", path.display());
    }
    fs::read(path).with_context(|| path.display().to_string())
}

/// A tool's name, made of a file's.
fn stem(path: &Path) -> String {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
    name.trim_matches('-').chars().take(32).collect()
}

impl Detail {
    fn name_or(&self, other: &str) -> String {
        self.name.clone().unwrap_or_else(|| other.to_owned())
    }

    /// What is said on the command line goes before what the tool says.
    fn apply(self, tool: &mut NewTool) {
        if let Some(name) = self.name {
            tool.name = name;
        }
        if let Some(description) = self.description {
            tool.description = description;
        }
        if let Some(version) = self.tool_version {
            tool.version = version;
        }
        if !self.only.is_empty() {
            tool.only = Some(self.only);
        }
        let mut said = |names: Vec<String>, say: fn(&mut Override)| {
            names.into_iter().for_each(|name| say(tool.overrides.entry(name).or_default()));
        };
        said(self.needs_approval, |one| one.needs_approval = Some(true));
        said(self.no_approval, |one| one.needs_approval = Some(false));
        said(self.no_side_effects, |one| one.side_effects = Some(false));
    }
}

impl May {
    fn apply(self, grants: &mut Grants, limits: &mut Limits) {
        grants.outbound.extend(self.grant_outbound);
        grants.secrets.extend(self.grant_secret);
        grants.key_value.extend(self.grant_key_value);
        for (limit, given) in [
            (&mut limits.memory_bytes_max, self.memory_bytes_max),
            (&mut limits.cpu_ms_max, self.cpu_ms_max),
            (&mut limits.time_ms_max, self.time_ms_max),
            (&mut limits.output_bytes_max, self.output_bytes_max),
            (&mut limits.outbound_calls_max, self.outbound_calls_max),
            (&mut limits.concurrent_calls_max, self.concurrent_calls_max),
        ] {
            *limit = given.unwrap_or(*limit);
        }
    }
}

/// Asks at a terminal whether what waits was read. A program that did not read it has at least its differences in its log.
fn confirm(tool: &Value) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Ok(());
    }
    screen::prompt(&format!("{}Type `yes` to put this version in force: ", describe(tool)))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(()) } else { bail!("nothing was changed") }
}

/// A line of the list.
fn describe_line(tool: &Value) -> String {
    let mut marks = String::new();
    if tool["pending"] == true && tool["state"] != "pending" {
        marks.push_str("  A NEW VERSION WAITS");
    }
    if tool["changed"] == true {
        marks.push_str("  THE SERVER LISTS SOMETHING ELSE");
    }
    format!(
        "{:<32} {:<9} {:<8} {} functions, {}{marks}\n",
        text(&tool["name"]),
        text(&tool["kind"]),
        text(&tool["state"]),
        tool["functions"],
        shown(text(&tool["version"])),
    )
}

fn describe(tool: &Value) -> String {
    let mut out = format!("{}\n", text(&tool["name"]));
    if tool["enabled"] == false {
        out.push_str("Disabled\n");
    }
    if tool["changed"].is_object() {
        let at = tool["changed"]["noticed_at"].as_u64().map(moment).unwrap_or_default();
        let _ = writeln!(out, "CHANGED at {at}: {}", shown(text(&tool["changed"]["detail"])));
    }
    for (title, version) in [("In force", &tool["accepted"]), ("Waits", &tool["pending"])] {
        if version.is_object() {
            out.push_str(&describe_version(title, version));
        }
    }
    out + &differences(&tool["pending"])
}

fn describe_version(title: &str, version: &Value) -> String {
    let address = version["base_url"].as_str().or_else(|| version["url"].as_str()).unwrap_or_default();
    let mut out = format!(
        "{title}: {} {} {}\n",
        text(&version["kind"]),
        shown(text(&version["version"])),
        shown(address)
    );
    let _ = writeln!(out, "  digest {}", text(&version["digest"]));
    for (name, list) in version["grants"].as_object().into_iter().flatten() {
        let list: Vec<String> = list.as_array().into_iter().flatten().map(|one| shown(text(one))).collect();
        let list = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
        let _ = writeln!(out, "  may reach {name}: {list}");
    }
    let limits: Vec<String> = version["limits"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, limit)| format!("{name} {limit}"))
        .collect();
    let _ = writeln!(out, "  limits: {}", limits.join(", "));
    for function in version["functions"].as_array().into_iter().flatten() {
        let effects = if function["side_effects"] == true { "has side effects" } else { "no side effects" };
        let approval = if function["needs_approval"] == true { ", needs approval" } else { "" };
        let first = text(&function["description"]).lines().next().unwrap_or_default();
        let _ = writeln!(out, "  {} ({effects}{approval}) {}", shown(text(&function["name"])), shown(first));
    }
    out
}

/// What waits would change.
fn differences(pending: &Value) -> String {
    let lines = pending["differences"].as_array().into_iter().flatten();
    let lines: String = lines.map(|line| format!("  {}\n", shown(text(line)))).collect();
    if lines.is_empty() { lines } else { format!("Differences\n{lines}") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text that cannot steer the terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_by_its_file() {
        let check = |path: &str, expected: &str| assert_eq!(stem(Path::new(path)), expected, "{path}");
        check("target/My_Tool.wasm", "my-tool");
        check("shop.v1.yaml", "shop-v1");
        check("_x_.json", "x");
        check("/", "");
    }

    #[test]
    fn what_is_said_on_the_command_line_goes_before_what_the_tool_says() {
        let mut tool = new_tool("a".to_owned(), Kind::Component);
        let detail = Detail {
            name: Some("b".to_owned()),
            description: None,
            tool_version: Some("2".to_owned()),
            operation: Vec::new(),
            base_url: None,
            argument: Vec::new(),
            tag: None,
            only: vec!["run".to_owned()],
            needs_approval: vec!["run".to_owned()],
            no_approval: Vec::new(),
            no_side_effects: vec!["run".to_owned()],
        };
        detail.apply(&mut tool);
        assert_eq!((tool.name.as_str(), tool.version.as_str()), ("b", "2"));
        let said = Override { needs_approval: Some(true), side_effects: Some(false), ..Override::default() };
        assert_eq!(tool.overrides["run"], said);
    }

    #[test]
    fn a_tool_is_described_with_what_waits_and_what_that_changes() {
        let tool = json!({ "name": "shop", "enabled": true, "accepted": null, "pending": {
            "kind": "http", "version": "1\u{1b}[31m", "digest": "sha256:0", "base_url": "https://shop.test",
            "grants": { "outbound": ["https://shop.test"], "secrets": [] }, "limits": { "time_ms_max": 1 },
            "functions": [{ "name": "get", "description": "An order.\nMore.", "side_effects": true, "needs_approval": true }],
            "differences": ["grants: + outbound https://shop.test"] } });
        let described = describe(&tool);
        for part in [
            "Waits: http 1[31m https://shop.test",
            "may reach outbound: https://shop.test",
            "may reach secrets: nothing",
            "get (has side effects, needs approval) An order.\n",
            "Differences\n  grants: + outbound https://shop.test\n",
        ] {
            assert!(described.contains(part), "{part}: {described}");
        }
        assert!(!described.contains('\u{1b}'));
    }
}
