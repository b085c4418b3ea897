//! The application's manifest, spin.toml: Spin's manifest version 2, as far as an HTTP application can use it. What
//! this host does not run is refused by name, and all mistakes of a file are reported in one go.

mod application;
mod checks;
mod components;
mod dependencies;
mod model;
mod triggers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::diagnostics::{Diagnostic, Diagnostics, SourceFile};
use crate::document::{self, Report};
use crate::reader::TableReader;
use crate::routes::RouteTable;
use crate::suggest;

pub use dependencies::OWN_INTERFACES;
pub use model::{AllowedHost, Application, Build, Component, FileMount, HttpTrigger, Route, Variable};

/// The file that a folder's manifest is in.
pub const MANIFEST_FILE: &str = "spin.toml";

/// How a manifest is to be read.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The profile whose overrides apply; one that no component has is a mistake.
    pub profile: Option<String>,
}

/// A manifest without errors. Its components and triggers stand in the order of the file, the components that were
/// written inside triggers after the others.
#[derive(Clone, Debug)]
pub struct Manifest {
    source: SourceFile,
    dir: PathBuf,
    warnings: Diagnostics,
    /// `[application]`
    pub application: Application,
    /// `[variables]`
    pub variables: Vec<Variable>,
    /// `[[trigger.http]]`; at least one.
    pub triggers: Vec<HttpTrigger>,
    /// `[component.NAME]`
    pub components: Vec<Component>,
    /// Those that only satisfy imports of others, by interfaces that this host offers itself. They are built with the
    /// application, for Spin, and not run here.
    pub dependencies: Vec<Component>,
}

impl Manifest {
    /// Reads the manifest at `path`, or the `spin.toml` in it if it is a folder.
    ///
    /// # Errors
    /// All mistakes, if there is one: the file is unreadable, larger than [`crate::FILE_BYTES_MAX`], no TOML, or no
    /// manifest that this host runs.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, Diagnostics> {
        let path = if path.is_dir() { path.join(MANIFEST_FILE) } else { path.to_owned() };
        let hint = "`--from FILE` names the application's manifest, or the folder it is in";
        let source = document::read_file(&path, hint)?;
        Self::read(source, options.profile.as_deref())
    }

    /// Parses a manifest's text. `file_name` is what diagnostics show; paths in the manifest are relative to its
    /// folder.
    ///
    /// # Errors
    /// All mistakes, if there is one.
    pub fn parse(file_name: &str, text: &str, profile: Option<&str>) -> Result<Self, Diagnostics> {
        Self::read(SourceFile::new(file_name, text), profile)
    }

    fn read(source: SourceFile, profile: Option<&str>) -> Result<Self, Diagnostics> {
        let (draft, found) = {
            let (table, mut report) = document::parse(&source);
            let draft = read_document(table.get_ref(), profile, &mut report);
            (draft, report.into_diagnostics())
        };
        let (draft, warnings) = found.into_result(draft)?;
        let dir = Path::new(source.name()).parent().unwrap_or(Path::new("")).to_owned();
        let (dependencies, components) = divided(draft.components, &draft.triggers);
        let Draft { application, variables, triggers, .. } = draft;
        Ok(Self { source, dir, warnings, application, variables, triggers, components, dependencies })
    }

    /// What is suspicious, but no error; empty for a clean manifest.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The folder that the manifest's paths are relative to; empty for the current one.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest's text, to point at in further diagnostics.
    pub fn source_file(&self) -> &SourceFile {
        &self.source
    }

    /// The component of this name.
    pub fn component(&self, id: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.id.value == id)
    }

    /// The public routes and the components that serve them.
    pub fn route_table(&self) -> RouteTable {
        RouteTable::new(self.triggers.iter().filter_map(|trigger| match &trigger.route.value {
            Route::Public(pattern) => Some((pattern.clone(), trigger.component.value.clone())),
            Route::Private => None,
        }))
    }

    /// Where the component's WebAssembly file is.
    pub fn source_path(&self, component: &Component) -> PathBuf {
        self.dir.join(&component.source.value)
    }

    /// Checks that every component's WebAssembly file exists; not part of loading, because a build may create it.
    ///
    /// # Errors
    /// One diagnostic for each missing file, at the component's `source`.
    pub fn check_sources(&self) -> Result<(), Diagnostics> {
        let mut found = Diagnostics::new();
        for component in &self.components {
            let path = self.source_path(component);
            if path.is_file() {
                continue;
            }
            let problem = if path.exists() { "is not a file" } else { "does not exist" };
            let help = match &component.build {
                Some(_) => "build it first: `waggle build`, or `waggle up --build`".to_owned(),
                None => format!(
                    "the path is relative to the folder of {}; a `[component.{}.build]` with a `command` lets \
                     `waggle build` make the file",
                    self.source.name(),
                    component.id.value,
                ),
            };
            let message =
                format!("the WebAssembly file of `{}` {problem}: {}", component.id.value, path.display());
            found.push(Diagnostic::error(message).at(&self.source, component.source.span.clone()).help(help));
        }
        found.into_result(()).map(|_| ())
    }
}

/// The components that are only dependencies of others, and all others.
fn divided(components: Vec<Component>, triggers: &[HttpTrigger]) -> (Vec<Component>, Vec<Component>) {
    let named: BTreeSet<String> = components
        .iter()
        .flat_map(|component| &component.dependencies)
        .map(|name| name.value.clone())
        .collect();
    let is_dependency = |component: &Component| {
        let id = &component.id.value;
        named.contains(id) && triggers.iter().all(|trigger| trigger.component.value != *id)
    };
    components.into_iter().partition(is_dependency)
}

/// What could be read, valid or not; it is used only if no error was found.
#[derive(Debug, Default)]
struct Draft {
    application: Application,
    variables: Vec<Variable>,
    triggers: Vec<HttpTrigger>,
    components: Vec<Component>,
}

fn read_document(document: &DeTable<'_>, profile: Option<&str>, report: &mut Report<'_>) -> Draft {
    let mut root = TableReader::new(document, "", 0..0);
    let mut draft = Draft::default();
    if !check_version(&mut root, report) {
        return draft;
    }
    match root.table("application", report) {
        Some(table) => draft.application = application::read_application(table, report),
        None => {
            let help = "add a table `[application]` with a line `name = \"my-application\"`";
            if !root.has("application") {
                report.absence(0..0, "the table `[application]` is missing".to_owned(), help.to_owned());
            }
        }
    }
    if let Some(entry) = root.get("variables") {
        draft.variables = application::read_variables(&entry, report);
    }
    let mut profiles = Vec::new();
    if let Some(entry) = root.get("component") {
        for (id, entry) in entry.entries("a table of components, `[component.NAME]`", report) {
            draft.components.extend(components::read_component(id, &entry, profile, &mut profiles, report));
        }
    }
    triggers::read_triggers(&mut root, &mut draft, profile, &mut profiles, report);
    root.finish(report);
    check_profile(profile, &profiles, report);
    checks::check(&draft, report);
    draft
}

/// True if the rest of the file is worth reading.
fn check_version(root: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> bool {
    let upgrade = "write `spin_manifest_version = 2`, `[application]`, `[[trigger.http]]` and `[component.NAME]`; \
                   `spin doctor` rewrites a manifest of version 1";
    if let Some(old) = root.key_span("spin_version") {
        let message = "this is a manifest of version 1; version 2 is needed".to_owned();
        report.error(old, message, upgrade.to_owned());
        return false;
    }
    let Some(version) = root.get("spin_manifest_version") else {
        let help = "begin the file with `spin_manifest_version = 2`";
        report.absence(0..0, "`spin_manifest_version` is missing".to_owned(), help.to_owned());
        return true;
    };
    let (message, help) = match version.value.get_ref() {
        DeValue::Integer(number) if number.as_str() == "2" => return true,
        DeValue::Integer(number) if number.as_str() == "1" => {
            ("this is a manifest of version 1; version 2 is needed", upgrade)
        }
        DeValue::String(text) if text == "1" => {
            ("this is a manifest of version 1; version 2 is needed", upgrade)
        }
        DeValue::String(text) if text == "2" => {
            ("the version of the manifest is a number", "write `spin_manifest_version = 2`, without quotes")
        }
        _ => ("this version of the manifest is not known", "write `spin_manifest_version = 2`"),
    };
    report.error(version.span(), message.to_owned(), help.to_owned());
    false
}

/// Reports a profile that no component has; it would change nothing, so it is probably mistyped.
fn check_profile(profile: Option<&str>, profiles: &[String], report: &mut Report<'_>) {
    let Some(profile) = profile.filter(|profile| !profiles.iter().any(|known| known == profile)) else {
        return;
    };
    if report.is_broken() {
        return;
    }
    let mut names: Vec<&str> = profiles.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let help = suggest::help(profile, "profiles in the manifest", names)
        .unwrap_or_else(|| "no component has a `[component.NAME.profile.PROFILE]`".to_owned());
    let message = format!("no component has a profile `{profile}`");
    report.push(Diagnostic::error(message).help(help));
}
