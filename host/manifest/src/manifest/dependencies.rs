//! `[component.NAME.dependencies]`: which components satisfy a component's imports, as Spin composes them. This host does
//! not compose: it takes the dependencies whose interfaces it offers itself, and has no use for the components they name.

use toml::de::DeValue;

use crate::document::Report;
use crate::located::Located;
use crate::reader::{Entry, TableReader};

/// The interfaces of our own that this host offers every function, as `namespace:package/interface@version`.
pub const OWN_INTERFACES: [&str; 3] =
    ["waggle:http/client@0.1.0", "waggle:tokenizer/tokenizer@0.1.0", "waggle:vector/index@0.1.0"];

/// The components of the same manifest that the dependencies name.
pub(super) fn read_dependencies(
    table: &mut TableReader<'_, '_>,
    report: &mut Report<'_>,
) -> Vec<Located<String>> {
    let entries = table.get("dependencies").map(|entry| entry.entries("a table of dependencies", report));
    let mut components = Vec::new();
    for (name, entry) in entries.unwrap_or_default() {
        if is_offered(&name) {
            components.extend(component_of(&entry, report));
        } else {
            let message = format!(
                "`{}`: this host neither offers `{}` itself nor composes components",
                table.path_of("dependencies"),
                name.value
            );
            let help = format!(
                "compose the component when it is built, for example by `wac plug`; the host itself offers {}",
                OWN_INTERFACES.map(|interface| format!("`{interface}`")).join(", ")
            );
            report.error(name.span, message, help);
        }
    }
    components
}

/// Whether all that a dependency of this name satisfies is offered. As in Spin, a name may leave out version and interface.
fn is_offered(name: &str) -> bool {
    let (wanted, version) =
        name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
    OWN_INTERFACES.iter().any(|interface| {
        let (offered, of_version) = interface.split_once('@').unwrap_or((interface, ""));
        let package = offered.split('/').next();
        (wanted == offered || Some(wanted) == package) && version.is_none_or(|version| version == of_version)
    })
}

/// The component of this manifest that satisfies a dependency, if one does.
fn component_of(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Located<String>> {
    match entry.value.get_ref() {
        // A version, a package, a path, a URL: none of it is fetched, for none of it is needed.
        DeValue::String(_) => None,
        DeValue::Table(_) => {
            let mut table = entry.table(report)?;
            table.string("component", report)
        }
        _ => entry.wrong_type("a version, or a table that says where the component is", report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_may_leave_out_version_and_interface() {
        let check = |name: &str, expected: bool| assert_eq!(is_offered(name), expected, "{name}");
        check("waggle:tokenizer/tokenizer@0.1.0", true);
        check("waggle:tokenizer/tokenizer", true);
        check("waggle:tokenizer@0.1.0", true);
        check("waggle:tokenizer", true);
        check("waggle:tokenizer/tokenizer@0.2.0", false);
        check("waggle:tokenizer/other", false);
        check("waggle:vector/index@0.1.0", true);
        check("waggle:vector/index", true);
        check("waggle:vector@0.1.0", true);
        check("waggle:vector/tokenizer", false);
        check("waggle:tokenizer/index", false);
        check("waggle", false);
        check("tokenizer", false);
        check("", false);
    }
}
