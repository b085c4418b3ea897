//! The application's variables with their values, and what each component sees of them.

use std::collections::BTreeMap;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::located::Located;
use crate::manifest::{AllowedHost, Component, Manifest, Variable};
use crate::outbound::{OutboundHost, OutboundHosts, service_chaining_target};
use crate::suggest;
use crate::template::{Part, Template};
use crate::value::VariableValue;

/// A variable `api_key` is looked up as `SPIN_VARIABLE_API_KEY`, as Spin does.
pub const ENVIRONMENT_PREFIX: &str = "SPIN_VARIABLE_";

/// All variables resolved: the application's, and each component's variables and allow-list made from them.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    application: BTreeMap<String, VariableValue>,
    components: BTreeMap<String, ComponentView>,
}

#[derive(Clone, Debug, Default)]
struct ComponentView {
    variables: BTreeMap<String, VariableValue>,
    hosts: OutboundHosts,
}

impl Variables {
    /// Gives every application variable of `manifest` its value: from `overrides` (`--variable name=value`; the last
    /// of a name counts), else from the environment by `environment` (asked for `SPIN_VARIABLE_NAME`), else its
    /// default. An allowed host that turns out empty, or to be only `http://` or `https://`, is left out, as in Spin.
    ///
    /// # Errors
    /// Everything that is wrong at once: required variables without a value, overrides of unknown variables, and
    /// templates of allowed hosts that turn out to be no host. No message holds a value.
    pub fn resolve(
        manifest: &Manifest,
        overrides: impl IntoIterator<Item = (String, String)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut overrides: BTreeMap<String, String> = overrides.into_iter().collect();
        let mut application = BTreeMap::new();
        for variable in &manifest.variables {
            let given = overrides.remove(&variable.name.value);
            let value = given.or_else(|| environment(&environment_name(&variable.name)));
            match value.or_else(|| variable.default.clone()) {
                Some(text) => {
                    let value = VariableValue::new(text, variable.is_secret);
                    application.insert(variable.name.value.clone(), value);
                }
                None => found.push(missing(manifest, variable)),
            }
        }
        for name in overrides.keys() {
            let known = manifest.variables.iter().map(|variable| variable.name.as_str());
            let help = suggest::help(name, "variables of the application", known)
                .unwrap_or_else(|| "the application has no variables".to_owned());
            let message = format!("`--variable {name}=…`: the application has no such variable");
            found.push(Diagnostic::error(message).help(help));
        }
        let views = manifest.components.iter().map(|component| {
            (component.id.value.clone(), view(manifest, component, &application, &mut found))
        });
        let components = views.collect();
        found.into_result(Self { application, components }).map(|(variables, _)| variables)
    }

    /// The same variables with other values for some, for one tenant of the application.
    ///
    /// # Errors
    /// Names that the application does not declare, and allowed hosts that turn out to be none. No message holds a value.
    pub fn with_overrides<'o>(
        &self,
        manifest: &Manifest,
        overrides: impl IntoIterator<Item = (&'o str, &'o str)>,
    ) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut application = self.application.clone();
        for (name, text) in overrides {
            match manifest.variables.iter().find(|variable| variable.name.value == name) {
                Some(variable) => {
                    let value = VariableValue::new(text.to_owned(), variable.is_secret);
                    application.insert(name.to_owned(), value);
                }
                None => {
                    let known = manifest.variables.iter().map(|variable| variable.name.as_str());
                    let help = suggest::help(name, "variables of the application", known);
                    let help = help.unwrap_or_else(|| "the application has no variables".to_owned());
                    found.push(
                        Diagnostic::error(format!("the application has no variable `{name}`")).help(help),
                    );
                }
            }
        }
        let views = manifest.components.iter().map(|component| {
            (component.id.value.clone(), view(manifest, component, &application, &mut found))
        });
        let components = views.collect();
        found.into_result(Self { application, components }).map(|(variables, _)| variables)
    }

    /// The value of an application variable.
    pub fn get(&self, name: &str) -> Option<&VariableValue> {
        self.application.get(name)
    }

    /// The component's variables by name, templates expanded; empty for a component that does not exist.
    pub fn component_variables(&self, component: &str) -> BTreeMap<String, VariableValue> {
        self.components.get(component).map(|view| view.variables.clone()).unwrap_or_default()
    }

    /// Where the component may send requests; nowhere for a component that does not exist.
    pub fn outbound_hosts(&self, component: &str) -> OutboundHosts {
        self.components.get(component).map(|view| view.hosts.clone()).unwrap_or_default()
    }
}

/// The environment variable that sets an application variable.
pub fn environment_name(variable: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", variable.to_ascii_uppercase())
}

fn missing(manifest: &Manifest, variable: &Variable) -> Diagnostic {
    let name = &variable.name;
    let mut help = format!("start with `--variable {}=VALUE`, or set {}", name.value, environment_name(name));
    if let Some(description) = &variable.description {
        help.push_str(&format!("\nit is: {description}"));
    }
    Diagnostic::error(format!("the required variable `{}` has no value", name.value))
        .at(manifest.source_file(), name.span.clone())
        .help(help)
}

/// What a component sees. Templates with a variable that has no value are left out: that is reported already.
fn view(
    manifest: &Manifest,
    component: &Component,
    application: &BTreeMap<String, VariableValue>,
    found: &mut Diagnostics,
) -> ComponentView {
    let variables = component
        .variables
        .iter()
        .filter_map(|(name, template)| Some((name.value.clone(), expand(template, application)?)));
    let variables = variables.collect();
    let hosts = component.allowed_outbound_hosts.iter().filter_map(|host| match &host.value {
        AllowedHost::Literal(entry) => Some(entry.clone()),
        AllowedHost::Template(template) => {
            expand_host(manifest, &Located::new(template, host.span.clone()), application, found)
        }
    });
    let hosts: Vec<OutboundHost> = hosts.collect();
    let ids = manifest.components.iter().map(|component| component.id.as_str());
    ComponentView { variables, hosts: OutboundHosts::new(hosts, ids) }
}

fn expand(template: &Template, application: &BTreeMap<String, VariableValue>) -> Option<VariableValue> {
    let text = template.expand(|name| application.get(name).map(VariableValue::expose)).ok()?;
    let is_secret =
        template.variables().any(|(name, _)| application.get(name).is_some_and(VariableValue::is_secret));
    Some(VariableValue::new(text, is_secret))
}

fn expand_host(
    manifest: &Manifest,
    template: &Located<&Template>,
    application: &BTreeMap<String, VariableValue>,
    found: &mut Diagnostics,
) -> Option<OutboundHost> {
    let value = expand(template, application)?;
    if matches!(value.expose(), "" | "http://" | "https://") {
        return None;
    }
    let problem = match OutboundHost::parse(value.expose()) {
        Ok(entry) => match unknown_target(manifest, &entry) {
            None => return Some(entry),
            Some(()) => ("it names a component to call that does not exist".to_owned(), None),
        },
        Err(error) => (error.message, Some(error.help)),
    };
    let (message, help) = problem;
    let names: Vec<&str> = template.parts().iter().filter_map(variable_name).collect();
    let note = format!("it holds {}", suggest::list(names));
    let help = help.map_or(note.clone(), |help| format!("{help}\n{note}"));
    let message = format!("with its variables filled in, this is no allowed host: {message}");
    found.push(Diagnostic::error(message).at(manifest.source_file(), template.span.clone()).help(help));
    None
}

fn unknown_target(manifest: &Manifest, entry: &OutboundHost) -> Option<()> {
    let crate::outbound::HostPattern::Name(name) = &entry.host else {
        return None;
    };
    let target = service_chaining_target(name)?;
    let exists = manifest.components.iter().any(|component| component.id.eq_ignore_ascii_case(target));
    (!exists).then_some(())
}

fn variable_name(part: &Part) -> Option<&str> {
    match part {
        Part::Literal(_) => None,
        Part::Variable { name, .. } => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
spin_manifest_version = 2
[application]
name = "app"
[variables]
model = { default = "small" }
endpoint = { default = "" }
api_key = { required = true, secret = true, description = "the key of the model endpoint" }
other = { required = true }
[[trigger.http]]
route = "/..."
component = "chat"
[component.chat]
source = "chat.wasm"
allowed_outbound_hosts = ["https://fixed.example", "{{ endpoint }}", "https://{{ other }}", "http://*.spin.internal"]
[component.chat.variables]
greeting = "model {{ model }}"
authorization = "Bearer {{ api_key }}"
"#;

    fn resolve(overrides: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Variables, Diagnostics> {
        let manifest = Manifest::parse("spin.toml", TEXT, None).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<String, String> = environment.iter().map(owned).collect();
        Variables::resolve(&manifest, overrides.iter().map(owned), |name| environment.get(name).cloned())
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_default() {
        let environment =
            [("SPIN_VARIABLE_MODEL", "env"), ("SPIN_VARIABLE_API_KEY", "k1"), ("SPIN_VARIABLE_OTHER", "o")];
        let check = |overrides: &[(&str, &str)], expected: &str| {
            let variables = resolve(overrides, &environment).unwrap();
            assert_eq!(variables.get("model").unwrap().expose(), expected);
            assert_eq!(
                variables.component_variables("chat")["greeting"].expose(),
                format!("model {expected}")
            );
        };
        check(&[("model", "flag")], "flag");
        check(&[("model", "first"), ("model", "last")], "last");
        check(&[], "env");
        let plain = resolve(&[("api_key", "k"), ("other", "o")], &[]).unwrap();
        assert_eq!(plain.get("model").unwrap().expose(), "small");
    }

    #[test]
    fn every_missing_variable_is_named_with_how_to_set_it() {
        let found = resolve(&[("modle", "x")], &[]).unwrap_err().to_string();
        for expected in [
            "the required variable `api_key` has no value",
            "--variable api_key=VALUE`, or set SPIN_VARIABLE_API_KEY",
            "it is: the key of the model endpoint",
            "the required variable `other` has no value",
            "spin.toml:8:1",
            "`--variable modle=…`: the application has no such variable",
            "did you mean `model`?",
        ] {
            assert!(found.contains(expected), "{expected} in\n{found}");
        }
    }

    #[test]
    fn secrets_and_what_is_made_of_them_are_not_shown() {
        let variables = resolve(&[("api_key", "s3cret"), ("other", "host.example")], &[]).unwrap();
        assert_eq!(variables.component_variables("chat")["authorization"].expose(), "Bearer s3cret");
        let shown = format!("{variables:?} {:?}", variables.component_variables("chat"));
        assert!(
            !shown.contains("s3cret") && shown.contains("(secret)") && shown.contains("small"),
            "{shown}"
        );
    }

    #[test]
    fn allowed_hosts_are_made_from_templates_and_empty_ones_are_left_out() {
        let hosts =
            resolve(&[("api_key", "k"), ("other", "host.example:8443")], &[]).unwrap().outbound_hosts("chat");
        assert_eq!(hosts.entries().len(), 3);
        assert!(hosts.allows("https", "host.example", Some(8443)));
        assert!(hosts.allows("http", "chat.spin.internal", None));
        assert!(!hosts.allows("https", "host.example", None));
    }

    #[test]
    fn a_template_that_becomes_no_host_is_shown_in_place_without_its_value() {
        let check = |other: &str, expected: &str| {
            let found = resolve(&[("api_key", "k"), ("other", other)], &[]).unwrap_err().to_string();
            assert!(found.contains(expected) && found.contains("spin.toml:15:"), "{found}");
            assert!(found.contains("it holds `other`") && !found.contains(other), "{found}");
        };
        check("host/s3cret/path", "no path");
        check("us3r:s3cret@host", "no user or password");
        check("nobody.spin.internal", "does not exist");
    }
}
