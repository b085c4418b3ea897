//! What a version changes, in sentences that a person accepts or rejects it by.

use crate::{Function, Grants, Kind, RequestTemplate, Version};
use std::collections::BTreeMap;

/// Characters of an address or a name within a sentence.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// What `new` may and can do that `old` may or can not, and the reverse; what widens it stands first. `old` is none for the
/// first version, of which everything is told.
#[must_use]
pub fn differences(old: Option<&Version>, new: &Version) -> Vec<String> {
    let mut out = Vec::new();
    kind(old, new, &mut out);
    let none = Grants::default();
    let before = old.map_or(&none, |old| &old.grants);
    for (what, before, after) in [
        ("outbound", &before.outbound, &new.grants.outbound),
        ("secrets", &before.secrets, &new.grants.secrets),
        ("key_value", &before.key_value, &new.grants.key_value),
    ] {
        out.extend(
            after
                .iter()
                .filter(|one| !before.contains(one))
                .map(|one| format!("grants: + {what} {}", shown(one))),
        );
        out.extend(
            before
                .iter()
                .filter(|one| !after.contains(one))
                .map(|one| format!("grants: - {what} {}", shown(one))),
        );
    }
    limits(old, new, &mut out);
    functions(old, new, &mut out);
    if let Some(old) = old {
        if old.version != new.version {
            out.push(format!("version: `{}`, was `{}`", shown(&new.version), shown(&old.version)));
        }
        if old.description != new.description {
            out.push("description: changed".to_owned());
        }
        if old.digest != new.digest && old.kind == Kind::Component && new.kind == Kind::Component {
            out.push(format!("component: other bytes, {}, was {}", new.digest, old.digest));
        }
    }
    out
}

fn kind(old: Option<&Version>, new: &Version, out: &mut Vec<String>) {
    let named = |kind: &Kind| match kind.address() {
        Some(address) => format!("{} at {}", kind.name(), shown(address)),
        None => kind.name().to_owned(),
    };
    match old {
        Some(old) if old.kind != new.kind => {
            out.push(format!("kind: {}, was {}", named(&new.kind), named(&old.kind)))
        }
        Some(_) => {}
        None => out.push(format!("kind: {}", named(&new.kind))),
    }
}

fn limits(old: Option<&Version>, new: &Version, out: &mut Vec<String>) {
    let before = old.map(|old| old.limits).unwrap_or_default();
    let mut lowered = Vec::new();
    for ((name, after), (_, before)) in new.limits.each().into_iter().zip(before.each()) {
        if after > before {
            out.push(format!("limits: {name} raised to {after}, from {before}"));
        } else if after < before {
            lowered.push(format!("limits: {name} lowered to {after}, from {before}"));
        }
    }
    out.append(&mut lowered);
}

fn functions(old: Option<&Version>, new: &Version, out: &mut Vec<String>) {
    let by_name = |version: Option<&Version>| -> BTreeMap<String, Function> {
        let functions = version.into_iter().flat_map(|version| version.functions.iter().cloned());
        functions.map(|function| (function.name.clone(), function)).collect()
    };
    let (before, after) = (by_name(old), by_name(Some(new)));
    for (name, function) in &after {
        match before.get(name) {
            None => out.push(format!("function {}: new, {}", shown(name), manner(function))),
            Some(old) => {
                out.extend(changes(old, function).map(|change| format!("function {}: {change}", shown(name))))
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        out.push(format!("function {}: gone", shown(name)));
    }
}

/// What a function does to the world.
fn manner(function: &Function) -> String {
    let effects = match (function.side_effects, function.idempotent) {
        (false, _) => "without side effects",
        (true, true) => "has side effects, idempotent",
        (true, false) => "has side effects",
    };
    let approval = if function.needs_approval { ", needs approval" } else { "" };
    format!("{effects}{approval}")
}

fn changes(old: &Function, new: &Function) -> impl Iterator<Item = String> {
    let mut out = Vec::new();
    if manner(old) != manner(new) {
        out.push(format!("{}; was: {}", manner(new), manner(old)));
    }
    if old.request != new.request {
        out.push(request(old.request.as_ref(), new.request.as_ref()));
    }
    let changed = [
        ("description changed", old.description != new.description),
        ("parameters changed", old.parameters != new.parameters),
        ("output changed", old.output != new.output),
        ("called otherwise at the server", old.remote_name != new.remote_name),
    ];
    out.extend(changed.into_iter().filter(|(_, is_so)| *is_so).map(|(what, _)| what.to_owned()));
    out.into_iter()
}

fn request(old: Option<&RequestTemplate>, new: Option<&RequestTemplate>) -> String {
    let line = |request: Option<&RequestTemplate>| {
        request.map_or_else(|| "none".to_owned(), |one| format!("{} {}", one.method, shown(&one.path)))
    };
    if line(old) == line(new) {
        "where its arguments go changed".to_owned()
    } else {
        format!("request {}, was {}", line(new), line(old))
    }
}

/// A text of others within a sentence: short, and without what steers a terminal.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|one| !one.is_control()).take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < text.len() && text.chars().count() > SHOWN_CHARACTERS_MAX {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
