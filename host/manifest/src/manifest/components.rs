//! `[component.NAME]`: what a component is and what it may use.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component as PathPart, Path};

use toml::de::DeValue;

use crate::document::Report;
use crate::located::Located;
use crate::names;
use crate::outbound::OutboundHost;
use crate::reader::{Entry, TableReader};
use crate::template::Template;

use super::application;
use super::dependencies::read_dependencies;
use super::model::{AllowedHost, Build, Component, FileMount};

/// What a chosen profile puts in place of a component's own settings.
#[derive(Default)]
struct Overrides {
    source: Option<Located<String>>,
    environment: BTreeMap<String, String>,
    commands: Vec<String>,
}

/// Reads one component and applies the chosen profile. The names of all its profiles are added to `profiles`.
pub(super) fn read_component(
    id: Located<String>,
    entry: &Entry<'_, '_>,
    profile: Option<&str>,
    profiles: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Component> {
    if let Err(reason) = names::check_component_id(&id) {
        let corrected = id.to_lowercase().replace(['_', ' ', '.'], "-");
        let help = names::check_component_id(&corrected).ok().map(|()| format!("write `{corrected}`"));
        report.error(id.span.clone(), format!("the component's name `{}` {reason}", id.value), help);
    }
    let mut table = entry.table(report)?;
    let mut component = Component {
        source: read_source(&mut table, report),
        description: table.string("description", report).map(|text| text.value),
        environment: read_environment(&mut table, report),
        files: read_files(&mut table, report),
        exclude_files: table.strings("exclude_files", report),
        key_value_stores: read_stores(&mut table, report),
        variables: read_variables(&mut table, report),
        allowed_outbound_hosts: read_hosts(&mut table, report),
        build: table.table("build", report).and_then(|build| read_build(build, report)),
        dependencies: read_dependencies(&mut table, report),
        id,
    };
    refuse_what_is_not_run(&mut table, report);
    // Settings for other tools, and where the component shall be deployable: nothing to run.
    table.ignore("tool");
    table.ignore("targets");
    let overrides = read_profiles(&mut table, profile, profiles, report);
    table.finish(report);
    apply(overrides, &mut component);
    Some(component)
}

fn refuse_what_is_not_run(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) {
    table.refuse_unless_empty(
        "sqlite_databases",
        "SQLite databases are not run by this host",
        "keep the component's data in `key_value_stores`",
        report,
    );
    table.refuse_unless_empty(
        "ai_models",
        "models inside the host are not run by this host",
        "call a model endpoint over HTTP and name it in `allowed_outbound_hosts`",
        report,
    );
    table.refuse_unless_empty(
        "allowed_http_hosts",
        "this key is from manifest version 1 and is not read",
        "write `allowed_outbound_hosts = [\"https://api.example.com\"]`",
        report,
    );
    // Says how dependencies get their permissions; those that are taken need none.
    table.ignore("dependencies_inherit_configuration");
}

fn read_source(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Located<String> {
    let nothing = Located::new(String::new(), table.span.clone());
    let Some(entry) = table.get("source") else {
        let message = format!("`{}` is missing", table.path_of("source"));
        let help = "name the component's WebAssembly file, such as `source = \"target/chat.wasm\"`";
        report.absence(table.span.clone(), message, help.to_owned());
        return nothing;
    };
    source_of(&entry, report).unwrap_or(nothing)
}

fn source_of(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Located<String>> {
    let DeValue::Table(remote) = entry.value.get_ref() else {
        let source = entry.string(report)?;
        if source.is_empty() {
            report.error(source.span.clone(), format!("`{}` must not be empty", entry.path), None);
        }
        return Some(source);
    };
    let has = |key: &str| remote.contains_key(key);
    let (reason, help) = if has("registry") || has("package") {
        (
            "components from a registry (OCI) are not fetched by this host",
            "fetch it when the application is built",
        )
    } else if has("url") {
        ("components from a URL are not fetched by this host", "download it when the application is built")
    } else {
        ("the source of a component must be the path of a file", "such as `source = \"target/chat.wasm\"`")
    };
    let help = format!("{help}, and name the file's path here");
    report.error(entry.key_span.clone(), format!("`{}`: {reason}", entry.path), help);
    None
}

fn read_environment(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let pairs = table.string_map("environment", report);
    for (name, value) in &pairs {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message =
                "the name of an environment variable must not be empty or hold `=` or NUL".to_owned();
            report.error(name.span.clone(), message, None);
        }
        if value.contains('\0') {
            let message = "the value of an environment variable must not hold NUL".to_owned();
            report.error(value.span.clone(), message, None);
        }
    }
    pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect()
}

fn read_stores(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Vec<Located<String>> {
    let stores = table.strings("key_value_stores", report);
    for (index, store) in stores.iter().enumerate() {
        if let Err(reason) = names::check_store_label(store) {
            let message = format!("the store's name `{}` {reason}", store.value);
            let help = "such as `default`, `my-store` or `my_store`";
            report.error(store.span.clone(), message, help.to_owned());
        }
        if stores.iter().take(index).any(|other| other.value == store.value) {
            let message = format!("the store `{}` is named twice", store.value);
            report.warning(store.span.clone(), message, None);
        }
    }
    stores
}

fn read_files(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Vec<Located<FileMount>> {
    let expected = "a list of globs and of `{ source = …, destination = … }`";
    let items = table.get("files").map(|entry| entry.items(expected, report)).unwrap_or_default();
    items.iter().filter_map(|item| read_file_mount(item, report)).collect()
}

fn read_file_mount(item: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Located<FileMount>> {
    let mount = match item.value.get_ref() {
        DeValue::String(pattern) => {
            if matches!(pattern.rsplit('/').next(), Some("." | "..")) {
                let message = format!("`{}` names a folder, not files", item.path);
                let help = "end it with `*` or `**/*`, or write `{ source = …, destination = … }`";
                report.error(item.span(), message, help.to_owned());
            }
            check_inside(pattern, item.span(), report);
            FileMount::Pattern(pattern.to_string())
        }
        DeValue::Table(_) => {
            let mut table = item.table(report)?;
            let source = table.required_string("source", "source = \"assets\"", report);
            let destination = table.required_string("destination", "destination = \"/\"", report);
            table.finish(report);
            let (source, destination) = (source?, destination?);
            check_inside(&source, source.span.clone(), report);
            if Path::new(&destination.value).components().any(|part| part == PathPart::ParentDir) {
                let message = format!("`{}.destination` must not hold `..`", item.path);
                report.error(destination.span.clone(), message, None);
            }
            let destination = format!("/{}", destination.value.trim_start_matches('/'));
            FileMount::Placement { source: source.value, destination }
        }
        _ => return item.wrong_type("a glob or `{ source = …, destination = … }`", report),
    };
    Some(Located::new(mount, item.span()))
}

/// Files come from the application's own folder, as in Spin; anything else would depend on the machine.
fn check_inside(path: &str, span: Range<usize>, report: &mut Report<'_>) {
    let leaves = |part| matches!(part, PathPart::ParentDir | PathPart::RootDir | PathPart::Prefix(_));
    if Path::new(path).components().any(leaves) {
        let message = "files come from the application's folder: no absolute path, and no `..`".to_owned();
        report.error(span, message, "copy them there when the application is built".to_owned());
    }
}

fn read_variables(
    table: &mut TableReader<'_, '_>,
    report: &mut Report<'_>,
) -> Vec<(Located<String>, Located<Template>)> {
    let pairs = table.string_map("variables", report).into_iter();
    pairs
        .filter_map(|(name, text)| {
            application::check_name(&name, report);
            Some((name, read_template(&text, report)?))
        })
        .collect()
}

fn read_template(text: &Located<String>, report: &mut Report<'_>) -> Option<Located<Template>> {
    match Template::parse(text) {
        Ok(template) => Some(Located::new(template, text.span.clone())),
        Err(error) => {
            let span = inside(report, text, &text.span, error.range());
            let help = "a template refers to a variable by `{{ name }}`".to_owned();
            report.error(span, format!("in this template, {error}"), help);
            None
        }
    }
}

fn read_hosts(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Vec<Located<AllowedHost>> {
    let texts = table.strings("allowed_outbound_hosts", report);
    texts.iter().filter_map(|text| read_host(text, report)).collect()
}

fn read_host(text: &Located<String>, report: &mut Report<'_>) -> Option<Located<AllowedHost>> {
    let template = read_template(text, report)?;
    if !template.is_literal() {
        return Some(template.map(AllowedHost::Template));
    }
    match OutboundHost::parse(text) {
        Ok(host) => Some(Located::new(AllowedHost::Literal(host), text.span.clone())),
        Err(error) => {
            let span = inside(report, text, &text.span, error.range.clone());
            report.error(span, format!("in `allowed_outbound_hosts`: {}", error.message), error.help);
            None
        }
    }
}

/// The bytes of the file that `range` of a string's `content` stands in; the whole value, at `span`, if the string was
/// written with escapes, so that content and file differ.
pub(super) fn inside(
    report: &Report<'_>,
    content: &str,
    span: &Range<usize>,
    range: Range<usize>,
) -> Range<usize> {
    let written = report.source().text().get(span.clone()).unwrap_or("");
    let quotes = written.len().saturating_sub(content.len()) / 2;
    if quotes > 0 && written.get(quotes..written.len() - quotes) == Some(content) {
        let start = span.start + quotes;
        start + range.start..start + range.end
    } else {
        span.clone()
    }
}

fn read_build(mut table: TableReader<'_, '_>, report: &mut Report<'_>) -> Option<Build> {
    let commands = read_commands(&mut table, report);
    let workdir = table.string("workdir", report);
    let watch = table.strings("watch", report).into_iter().map(|glob| glob.value).collect();
    table.finish(report);
    Some(Build { commands: commands?, workdir, watch })
}

/// A command or a list of them; at least one.
fn read_commands(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let help = "such as `command = \"cargo build --release\"`, or a list of commands to run in turn";
    let Some(entry) = table.get("command") else {
        let message = format!("`{}` is missing", table.path_of("command"));
        report.absence(table.span.clone(), message, help.to_owned());
        return None;
    };
    let commands: Vec<Located<String>> = match entry.value.get_ref() {
        DeValue::String(_) => entry.string(report).into_iter().collect(),
        DeValue::Array(_) => {
            let items = entry.items("a list of commands", report);
            items.iter().filter_map(|item| item.string(report)).collect()
        }
        _ => return entry.wrong_type("a command or a list of commands", report),
    };
    if commands.is_empty() || commands.iter().any(|command| command.trim().is_empty()) {
        report.error(entry.span(), format!("`{}` must not be empty", entry.path), help.to_owned());
    }
    Some(commands.into_iter().map(|command| command.value).collect())
}

/// Checks all profiles of a component and returns the chosen one.
fn read_profiles(
    table: &mut TableReader<'_, '_>,
    chosen: Option<&str>,
    profiles: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Overrides {
    let mut overrides = Overrides::default();
    let Some(entry) = table.get("profile") else {
        return overrides;
    };
    for (name, entry) in entry.entries("a table of profiles", report) {
        if let Some(table) = entry.table(report) {
            let read = read_profile(table, report);
            if chosen == Some(name.value.as_str()) {
                overrides = read;
            }
        }
        profiles.push(name.value);
    }
    overrides
}

fn read_profile(mut table: TableReader<'_, '_>, report: &mut Report<'_>) -> Overrides {
    let source = table.get("source").and_then(|entry| source_of(&entry, report));
    let environment = read_environment(&mut table, report);
    let commands = match table.table("build", report) {
        Some(mut build) => {
            let commands = read_commands(&mut build, report);
            build.finish(report);
            commands.unwrap_or_default()
        }
        None => Vec::new(),
    };
    // What is taken is offered whatever the profile, so nothing changes.
    read_dependencies(&mut table, report);
    table.finish(report);
    Overrides { source, environment, commands }
}

fn apply(overrides: Overrides, component: &mut Component) {
    if let Some(source) = overrides.source {
        component.source = source;
    }
    component.environment.extend(overrides.environment);
    if !overrides.commands.is_empty() {
        let own = component.build.take().unwrap_or(Build {
            commands: Vec::new(),
            workdir: None,
            watch: Vec::new(),
        });
        component.build = Some(Build { commands: overrides.commands, ..own });
    }
}
