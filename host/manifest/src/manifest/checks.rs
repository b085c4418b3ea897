//! Checks across the tables of a manifest: names that must exist, routes that must differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::diagnostics::Diagnostic;
use crate::document::Report;
use crate::outbound::{HostPattern, service_chaining_target};
use crate::suggest;
use crate::template::Template;

use super::Draft;
use super::components::inside;
use super::model::{AllowedHost, Component, Route};

/// The host answers below this path itself, as Spin does.
const RESERVED_PREFIX: &str = "/.well-known/spin/";

pub(super) fn check(draft: &Draft, report: &mut Report<'_>) {
    check_routes(draft, report);
    check_references(draft, report);
    check_templates(draft, report);
    check_service_chaining(draft, report);
}

fn check_routes(draft: &Draft, report: &mut Report<'_>) {
    let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for trigger in &draft.triggers {
        let Route::Public(pattern) = &trigger.route.value else {
            continue;
        };
        let span = trigger.route.span.clone();
        if pattern.as_str().starts_with(RESERVED_PREFIX) {
            let message = format!("requests below `{RESERVED_PREFIX}` are answered by the host itself");
            report.warning(span.clone(), message, "choose another route".to_owned());
        }
        if !pattern.raw().is_ascii() {
            let message =
                "most clients send this path percent-encoded, so the route will not match".to_owned();
            let help =
                format!("write `{}`; paths are compared as they arrive", percent_encoded(pattern.raw()));
            report.warning(span.clone(), message, help);
        }
        if let Some(first) = seen.get(&pattern.shape()) {
            let source = report.source();
            let message = format!("the route `{pattern}` is served by another trigger already");
            let found = Diagnostic::error(message)
                .at(source, span)
                .related("the first one (names of parameters make no difference)", source, first.clone())
                .help("change one of the routes, or remove one of the triggers".to_owned());
            report.push(found);
        } else {
            seen.insert(pattern.shape(), span);
        }
    }
}

/// The text with every byte outside ASCII as `%XX` (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    let encode =
        |byte: u8| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

fn check_references(draft: &Draft, report: &mut Report<'_>) {
    let ids: Vec<&str> = draft.components.iter().map(|component| component.id.as_str()).collect();
    let mut used = BTreeSet::new();
    for trigger in &draft.triggers {
        let name = &trigger.component;
        if !ids.contains(&name.as_str()) {
            let help = suggest::help(name, "components in the manifest", ids.iter().copied())
                .unwrap_or_else(|| format!("add a `[component.{}]`", name.value));
            report.absence(name.span.clone(), format!("there is no component `{}`", name.value), help);
        }
        used.insert(name.as_str());
    }
    for name in draft.components.iter().flat_map(|component| &component.dependencies) {
        if !ids.contains(&name.as_str()) {
            let help = suggest::help(name, "components in the manifest", ids.iter().copied())
                .unwrap_or_else(|| format!("add a `[component.{}]`", name.value));
            report.absence(name.span.clone(), format!("there is no component `{}`", name.value), help);
        }
        used.insert(name.as_str());
    }
    // What is unused may be a consequence of an error; only a file without errors is worth the remark.
    if report.has_errors() {
        return;
    }
    for component in draft.components.iter().filter(|component| !used.contains(component.id.as_str())) {
        let message = format!("no trigger leads to the component `{}`", component.id.value);
        let help = "a component that only other components call needs `route = { private = true }`";
        report.warning(component.id.span.clone(), message, help.to_owned());
    }
}

fn check_templates(draft: &Draft, report: &mut Report<'_>) {
    let names: Vec<&str> = draft.variables.iter().map(|variable| variable.name.as_str()).collect();
    let mut used = BTreeSet::new();
    for component in &draft.components {
        let own = component.variables.iter().map(|(_, template)| (&template.value, &template.span));
        for (template, span) in own.chain(host_templates(component)) {
            for (name, range) in template.variables() {
                used.insert(name.to_owned());
                if !names.contains(&name) {
                    report_undefined(name, template, (span, range), &names, report);
                }
            }
        }
    }
    if report.has_errors() {
        return;
    }
    for variable in draft.variables.iter().filter(|variable| !used.contains(variable.name.as_str())) {
        let name = &variable.name;
        let message = format!("no component uses the variable `{}`", name.value);
        let help = format!("give it to one: `variables = {{ {0} = \"{{{{ {0} }}}}\" }}`", name.value);
        report.warning(name.span.clone(), message, help);
    }
}

fn host_templates(component: &Component) -> impl Iterator<Item = (&Template, &Range<usize>)> {
    component.allowed_outbound_hosts.iter().filter_map(|host| match &host.value {
        AllowedHost::Template(template) => Some((template, &host.span)),
        AllowedHost::Literal(_) => None,
    })
}

fn report_undefined(
    name: &str,
    template: &Template,
    (span, range): (&Range<usize>, Range<usize>),
    names: &[&str],
    report: &mut Report<'_>,
) {
    let place = inside(report, template.as_str(), span, range);
    let help = suggest::help(name, "variables of the application", names.iter().copied())
        .unwrap_or_else(|| format!("add it to `[variables]`: `{name} = {{ required = true }}`"));
    report.absence(place, format!("there is no variable `{name}`"), help);
}

/// A call to a function that does not exist can only fail, so the name is checked here.
fn check_service_chaining(draft: &Draft, report: &mut Report<'_>) {
    let ids: Vec<&str> = draft.components.iter().map(|component| component.id.as_str()).collect();
    for host in draft.components.iter().flat_map(|component| &component.allowed_outbound_hosts) {
        let AllowedHost::Literal(entry) = &host.value else {
            continue;
        };
        let HostPattern::Name(name) = &entry.host else {
            continue;
        };
        let target = service_chaining_target(name);
        if let Some(target) = target.filter(|target| !ids.iter().any(|id| id.eq_ignore_ascii_case(target))) {
            let help = suggest::help(target, "components in the manifest", ids.iter().copied());
            let message = format!("there is no component `{target}` to call");
            report.absence(host.span.clone(), message, help);
        }
    }
}
