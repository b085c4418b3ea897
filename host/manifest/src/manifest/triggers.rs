//! `[[trigger.http]]`: routes, and the components they lead to.

use std::collections::BTreeSet;

use toml::de::DeValue;

use crate::document::Report;
use crate::located::Located;
use crate::names;
use crate::reader::{Entry, TableReader};
use crate::routes::RoutePattern;

use super::Draft;
use super::components::{inside, read_component};
use super::model::{Component, HttpTrigger, Route};

/// A trigger as written, before names are made up.
struct Written {
    id: Option<Located<String>>,
    route: Located<Route>,
    component: Target,
}

/// What a trigger leads to.
enum Target {
    Reference(Located<String>),
    Inline(Box<Component>),
}

pub(super) fn read_triggers(
    root: &mut TableReader<'_, '_>,
    draft: &mut Draft,
    profile: Option<&str>,
    profiles: &mut Vec<String>,
    report: &mut Report<'_>,
) {
    let entry = root.get("trigger");
    // A `trigger` that is no table is reported once, as that.
    let mut has_http =
        entry.as_ref().is_some_and(|entry| !matches!(entry.value.get_ref(), DeValue::Table(_)));
    let kinds = entry.map(|entry| entry.entries("a table", report)).unwrap_or_default();
    let mut written = Vec::new();
    for (kind, entry) in kinds {
        if kind.value != "http" {
            let message = format!("`trigger.{}`: this host runs HTTP triggers only", kind.value);
            let help = "remove the trigger; `[[trigger.http]]` is served";
            report.error(kind.span, message, help.to_owned());
            continue;
        }
        has_http = true;
        if matches!(entry.value.get_ref(), DeValue::Table(_)) {
            let message = "`trigger.http` must be a list of triggers".to_owned();
            report.error(kind.span, message, "write `[[trigger.http]]`, with two brackets".to_owned());
            continue;
        }
        for item in entry.items("a list of triggers, `[[trigger.http]]`", report) {
            written.extend(read_trigger(&item, profile, profiles, report));
        }
    }
    if !has_http {
        let help = "add a `[[trigger.http]]` with a `route` and a `component`";
        report.absence(0..0, "the application has no HTTP trigger".to_owned(), help.to_owned());
    }
    check_ids(&written, report);
    name_triggers(written, draft);
}

fn read_trigger(
    item: &Entry<'_, '_>,
    profile: Option<&str>,
    profiles: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Written> {
    let mut table = item.table(report)?;
    let id = table.string("id", report).filter(|id| !id.is_empty());
    let route = read_route(&mut table, report);
    let component = read_target(&mut table, profile, profiles, report);
    if let Some(entry) = table.get("executor") {
        read_executor(&entry, report);
    }
    let not_composed = "middleware and other additional components are not composed by this host yet";
    let compose = "compose the component when it is built, for example by `wac plug`";
    table.refuse_unless_empty("components", not_composed, compose, report);
    table.refuse_unless_empty("dependencies", not_composed, compose, report);
    // A trigger whose route was reported stands in as a private one, so that its component is checked all the same.
    let route = route.unwrap_or_else(|| Located::new(Route::Private, table.span.clone()));
    table.finish(report);
    Some(Written { id, route, component: component? })
}

fn read_route(table: &mut TableReader<'_, '_>, report: &mut Report<'_>) -> Option<Located<Route>> {
    let Some(entry) = table.get("route") else {
        let message = format!("`{}` is missing", table.path_of("route"));
        let help = "such as `route = \"/v1/...\"`, or `route = { private = true }`";
        report.absence(table.span.clone(), message, help.to_owned());
        return None;
    };
    match entry.value.get_ref() {
        DeValue::String(_) => {
            let text = entry.string(report)?;
            match RoutePattern::parse(&text) {
                Ok(pattern) => Some(Located::new(Route::Public(pattern), text.span)),
                Err(error) => {
                    let span = inside(report, &text, &text.span, error.range.clone());
                    report.error(span, error.message, error.help);
                    None
                }
            }
        }
        DeValue::Table(_) => {
            let mut private = entry.table(report)?;
            let value = private.boolean("private", report);
            private.finish(report);
            if value.as_ref().is_none_or(|value| !value.value) {
                let message = "a route is a path, or `{ private = true }`".to_owned();
                report.error(entry.span(), message, None);
                return None;
            }
            Some(Located::new(Route::Private, entry.span()))
        }
        _ => entry.wrong_type("a path, or `{ private = true }`", report),
    }
}

fn read_target(
    table: &mut TableReader<'_, '_>,
    profile: Option<&str>,
    profiles: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Target> {
    let has_static_response = table.has("static_response");
    table.refuse_unless_empty(
        "static_response",
        "static responses are not served by this host",
        "lead the route to a component",
        report,
    );
    let Some(entry) = table.get("component") else {
        if !has_static_response {
            let message = format!("`{}` is missing", table.path_of("component"));
            let help = "name the component that serves the route, such as `component = \"chat\"`";
            report.absence(table.span.clone(), message, help.to_owned());
        }
        return None;
    };
    match entry.value.get_ref() {
        DeValue::String(_) => entry.string(report).map(Target::Reference),
        DeValue::Table(_) => {
            // The real name is made up once all others are known; this one only keeps Spin's rule.
            let id = Located::new("inline".to_owned(), entry.key_span.clone());
            let component = read_component(id, &entry, profile, profiles, report)?;
            Some(Target::Inline(Box::new(component)))
        }
        _ => entry.wrong_type("a component's name, or a table that describes one", report),
    }
}

fn read_executor(entry: &Entry<'_, '_>, report: &mut Report<'_>) {
    let Some(mut table) = entry.table(report) else {
        return;
    };
    let Some(kind) = table.required_string("type", "executor = { type = \"http\" }", report) else {
        return;
    };
    let kinds = "`http` is the only type, and may be left out";
    match kind.as_str() {
        "http" | "spin" => table.finish(report),
        "wagi" => {
            let message = format!("`{}`: Wagi (CGI) components are not run by this host", entry.path);
            report.error(kind.span.clone(), message, "build the component for `wasi:http`".to_owned());
        }
        other => {
            let message = format!("`{}`: there is no executor `{other}`", entry.path);
            report.error(kind.span.clone(), message, kinds.to_owned());
        }
    }
}

fn check_ids(triggers: &[Written], report: &mut Report<'_>) {
    let ids: Vec<_> = triggers.iter().filter_map(|trigger| trigger.id.as_ref()).collect();
    for (index, id) in ids.iter().enumerate() {
        if let Some(first) = ids.iter().take(index).find(|other| other.value == id.value) {
            let message = format!("two triggers have the id `{}`", id.value);
            let source = report.source();
            let found = crate::Diagnostic::error(message)
                .at(source, id.span.clone())
                .related("the first one", source, first.span.clone())
                .help("give one of them another id, or leave the ids out".to_owned());
            report.push(found);
        }
    }
}

/// Makes up the names that the manifest does not give, by Spin's rules, and puts inline components to the others.
fn name_triggers(written: Vec<Written>, draft: &mut Draft) {
    let mut ids: BTreeSet<String> =
        written.iter().filter_map(|trigger| trigger.id.as_ref().map(|id| id.value.clone())).collect();
    for trigger in written {
        let id = match trigger.id {
            Some(id) => id.value,
            None => {
                let natural = match &trigger.component {
                    Target::Reference(name) => Some(format!("{}-http-trigger", name.value)),
                    Target::Inline(_) => None,
                };
                free_name(natural, "http-trigger", |name| ids.contains(name))
            }
        };
        ids.insert(id.clone());
        let component = match trigger.component {
            Target::Reference(name) => name,
            Target::Inline(mut component) => {
                let natural =
                    Some(format!("{id}-component")).filter(|name| names::check_component_id(name).is_ok());
                let is_taken = |name: &str| draft.components.iter().any(|other| other.id.value == name);
                component.id.value = free_name(natural, "inline-component", is_taken);
                let name = component.id.clone();
                draft.components.push(*component);
                name
            }
        };
        draft.triggers.push(HttpTrigger { id, route: trigger.route, component });
    }
}

/// `natural` if it is free, else the first free of `stem1`, `stem2`, …
fn free_name(natural: Option<String>, stem: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let counted = (1_u64..).map(|number| format!("{stem}{number}"));
    natural.into_iter().chain(counted).find(|name| !is_taken(name)).unwrap_or_default()
}
