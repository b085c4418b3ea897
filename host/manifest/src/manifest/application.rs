//! `[application]` and `[variables]`.

use crate::document::Report;
use crate::located::Located;
use crate::names;
use crate::reader::{Entry, TableReader};

use super::model::{Application, Variable};

pub(super) fn read_application(mut table: TableReader<'_, '_>, report: &mut Report<'_>) -> Application {
    let name = table.required_string("name", "name = \"my-application\"", report);
    if let Some(name) = name.as_ref().filter(|name| name.trim().is_empty()) {
        report.error(name.span.clone(), "the application's name must not be empty".to_owned(), None);
    }
    let text = |value: Option<Located<String>>| value.map(|located| located.value);
    let application = Application {
        name: text(name).unwrap_or_default(),
        version: text(table.string("version", report)),
        description: text(table.string("description", report)),
        authors: table.strings("authors", report).into_iter().map(|author| author.value).collect(),
    };
    // Settings of trigger types and tools, and where the application shall be deployable: nothing to run.
    table.ignore("trigger");
    table.ignore("targets");
    table.ignore("tool");
    table.finish(report);
    application
}

pub(super) fn read_variables(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Vec<Variable> {
    let entries = entry.entries("a table of variables", report);
    entries.into_iter().filter_map(|(name, entry)| read_variable(name, &entry, report)).collect()
}

fn read_variable(name: Located<String>, entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Variable> {
    check_name(&name, report);
    if let toml::de::DeValue::String(_) = entry.value.get_ref() {
        let message = format!("`{}` must be a table, not a string", entry.path);
        let help = format!("write `{} = {{ default = … }}`, or `{{ required = true }}`", name.value);
        report.error(entry.span(), message, help);
        return None;
    }
    let mut table = entry.table(report)?;
    let description = table.string("description", report).map(|text| text.value);
    let required = table.boolean("required", report);
    let is_misread = required.is_none() && table.has("required");
    let has_default = table.has("default");
    let default = table.string("default", report);
    let is_secret = table.boolean("secret", report).is_some_and(|secret| secret.value);
    table.finish(report);
    match required.filter(|required| required.value) {
        Some(required) if has_default => {
            let message = format!("the variable `{}` is required and has a default", name.value);
            let help = "leave out `required`, or the default that would never be used";
            report.error(required.span, message, help.to_owned());
        }
        None if !has_default && !is_misread => {
            let message = format!("the variable `{}` is not required and has no default", name.value);
            let help = "write `required = true`, or give it a `default`";
            report.absence(name.span.clone(), message, help.to_owned());
        }
        _ => {}
    }
    Some(Variable { name, description, default: default.map(|text| text.value), is_secret })
}

/// Reports a variable's name that breaks Spin's rule, with the name that would keep it.
pub(super) fn check_name(name: &Located<String>, report: &mut Report<'_>) {
    if let Err(reason) = names::check_variable_name(name) {
        let corrected = name.to_lowercase().replace(['-', ' ', '.'], "_");
        let help = names::check_variable_name(&corrected).ok().map(|()| format!("write `{corrected}`"));
        report.error(name.span.clone(), format!("the variable's name `{}` {reason}", name.value), help);
    }
}
