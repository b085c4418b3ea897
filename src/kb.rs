//! `waggle kb`

mod warm;

use crate::admin_client::block_on;
use crate::progress::Bar;
use crate::screen;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use waggle_knowledge::{Added, Hit, Knowledge, Member, Scan, Store, scan};
use waggle_secret::Secret;

/// How much of a hit is shown, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 300;

#[derive(Args)]
pub(crate) struct Kb {
    /// The server
    #[arg(
        long,
        env = "WAGGLE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:3000",
        global = true
    )]
    url: String,
    /// An API key of the tenant whose knowledge it is [default: none, for a server without tenants]
    #[arg(long, env = "WAGGLE_API_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    api_key: Option<String>,
    /// The vector store, by its name or its id; `warm` takes several
    #[arg(long = "store", value_name = "NAME", global = true)]
    stores: Vec<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add files and folders; what is there unchanged is not sent again, what has changed is replaced
    Add {
        /// Text, Markdown, HTML, PDF, DOCX, CSV, JSON, JSONL, or folders of them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// List the vector stores, or the files of one
    List,
    /// Search for the answer to a question
    Search {
        /// The question
        question: String,
        /// How many results, at most
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
        results: Option<u32>,
    },
    /// Have questions answered before they are asked, so that the semantic answer cache holds the answers: after the
    /// documents have changed
    Warm(warm::Warm),
    /// Remove files, or the whole vector store when none is named
    Remove {
        /// As `waggle kb list` shows them; a folder means all that is in it
        #[arg(value_name = "FILE")]
        files: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

impl Kb {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let key = self.api_key.filter(|key| !key.is_empty()).map(Secret::new);
        let server = Knowledge::new(&self.url, key.as_ref())?;
        let command = Command { server, stores: self.stores };
        block_on(command.carry_out(self.action))
    }
}

struct Command {
    server: Knowledge,
    stores: Vec<String>,
}

impl Command {
    async fn carry_out(self, action: Action) -> Result<ExitCode> {
        match action {
            Action::Add { paths } => return self.add(&paths).await,
            Action::List => self.list().await?,
            Action::Search { question, results } => self.search(&question, results).await?,
            Action::Warm(wishes) => return self.warm(wishes).await,
            Action::Remove { files, yes } => self.remove(&files, yes).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The vector store that is named, if one is.
    fn named_store(&self) -> Result<Option<&str>> {
        match self.stores.as_slice() {
            [] => Ok(None),
            [name] => Ok(Some(name.as_str())),
            _ => bail!("say --store once: this is done for one vector store at a time"),
        }
    }

    fn store_name(&self) -> Result<&str> {
        match self.named_store()? {
            Some(name) if !name.is_empty() => Ok(name),
            _ => bail!("say which vector store, with --store NAME; `waggle kb list` shows those there are"),
        }
    }

    async fn add(&self, paths: &[PathBuf]) -> Result<ExitCode> {
        let name = self.store_name()?;
        let Scan { files, passed_over } = scan(paths)?;
        if files.is_empty() {
            bail!("there is nothing to add: no file of a kind that can be read ({passed_over} of others)");
        }
        let store = self.server.store_or_new(name).await?;
        let bar = Bar::new();
        let added = self.server.add(&store, &files, &|progress| bar.show(progress)).await;
        bar.end();
        let added = added?;
        screen::print(&describe_added(&added, &store, passed_over, self.server.origin()))?;
        for failure in &added.failed {
            screen::complain(&format!("{}: {}", shown(&failure.label), shown(&failure.reason)));
        }
        Ok(if added.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn list(&self) -> Result<()> {
        let Some(name) = self.named_store()? else {
            let stores = self.server.stores().await?;
            return screen::print(&match stores.as_slice() {
                [] => "There are no vector stores; `waggle kb add --store NAME PATH` makes one.".to_owned(),
                stores => stores.iter().map(describe_store).collect(),
            });
        };
        let store = self.server.store(name).await?;
        let members = self.server.members(&store.id).await?;
        screen::print(&match members.as_slice() {
            [] => format!("`{}` holds no files.", shown(&store.name)),
            members => members.iter().map(describe_member).collect(),
        })
    }

    async fn search(&self, question: &str, results: Option<u32>) -> Result<()> {
        let store = self.server.store(self.store_name()?).await?;
        let hits = self.server.search(&store.id, question, results).await?;
        screen::print(&match hits.as_slice() {
            [] => "Nothing was found.".to_owned(),
            hits => hits.iter().enumerate().map(|(place, hit)| describe_hit(place + 1, hit)).collect(),
        })
    }

    async fn remove(&self, files: &[String], yes: bool) -> Result<()> {
        let store = self.server.store(self.store_name()?).await?;
        if !files.is_empty() {
            let count = self.server.remove_files(&store, files).await?;
            return screen::print(&format!("{count} files are removed."));
        }
        if !yes {
            confirm(&store)?;
        }
        let count = self.server.remove_store(&store).await?;
        screen::print(&format!("The vector store `{}` is removed, with {count} files.", shown(&store.name)))
    }
}

/// Asks whether it is meant; whoever cannot be asked must say so beforehand.
fn confirm(store: &Store) -> Result<()> {
    let (name, count) = (shown(&store.name), store.file_counts.total);
    if !std::io::stdin().is_terminal() {
        bail!("this removes the vector store `{name}` and what was added to it; say --yes if that is meant");
    }
    screen::prompt(&format!(
        "This removes the vector store `{name}` with {count} files. Type `yes` to go on: "
    ))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(()) } else { bail!("nothing was removed") }
}

fn describe_added(added: &Added, store: &Store, passed_over: usize, origin: &str) -> String {
    let Added { added, replaced, unchanged, failed } = added;
    let mut out = format!(
        "{added} added, {replaced} replaced, {unchanged} unchanged, {} failed in `{}` ({})\n",
        failed.len(),
        shown(&store.name),
        store.id
    );
    if passed_over > 0 {
        let _ = writeln!(out, "{passed_over} files of other kinds were left out.");
    }
    let _ = write!(
        out,
        "Ask: curl {origin}/v1/responses -H 'content-type: application/json' -d \
         '{{\"input\":\"…?\",\"tools\":[{{\"type\":\"file_search\",\"vector_store_ids\":[\"{}\"]}}]}}'",
        store.id
    );
    out
}

/// A line of the list of vector stores.
fn describe_store(store: &Store) -> String {
    let counts = store.file_counts;
    let search = store.waggle_search.as_deref().map(|search| format!(", {search}")).unwrap_or_default();
    format!(
        "{}  {:<24} {} files ({} in progress, {} failed), {}{search}\n",
        store.id,
        shown(&store.name),
        counts.total,
        counts.in_progress,
        counts.failed,
        store.status
    )
}

/// A line of the list of files.
fn describe_member(member: &Member) -> String {
    let reason = member.last_error.as_ref().filter(|_| member.status == "failed");
    let reason = reason.map(|error| format!(": {}", shown(&error.message))).unwrap_or_default();
    let name = member.path().map(shown).unwrap_or_default();
    format!("{}  {:<11} {name}{reason}\n", member.id, member.status)
}

fn describe_hit(number: usize, hit: &Hit) -> String {
    let heading = if hit.heading.is_empty() { String::new() } else { format!(" | {}", shown(&hit.heading)) };
    let text = hit.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut excerpt: String = shown(&text).chars().take(EXCERPT_CHARACTERS_MAX).collect();
    if text.chars().count() > EXCERPT_CHARACTERS_MAX {
        excerpt.push('…');
    }
    format!("[{number}] {}{heading} (score {:.2})\n    {excerpt}\n", shown(&hit.file), hit.score)
}

/// A text that cannot steer the terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hits_are_numbered_and_tell_where_they_stand() {
        let mut hit = Hit {
            file_id: "file-1".to_owned(),
            file: "docs/a.md".to_owned(),
            heading: "Bees > Dance".to_owned(),
            score: 0.756,
            text: "They\ndance.\u{1b}[31m".to_owned(),
        };
        assert_eq!(describe_hit(2, &hit), "[2] docs/a.md | Bees > Dance (score 0.76)\n    They dance.[31m\n");
        (hit.heading, hit.text) = (String::new(), "x".repeat(EXCERPT_CHARACTERS_MAX + 1));
        let described = describe_hit(1, &hit);
        assert!(described.starts_with("[1] docs/a.md (score") && described.ends_with("x…\n"), "{described}");
    }

    #[test]
    fn a_file_that_failed_is_listed_with_the_reason() {
        let member: Member = serde_json::from_value(json!({"id": "file-1", "status": "failed",
            "attributes": {"path": "a.pdf"}, "last_error": {"code": "invalid_file", "message": "It is encrypted."}}))
        .unwrap();
        assert_eq!(describe_member(&member), "file-1  failed      a.pdf: It is encrypted.\n");
    }
}
