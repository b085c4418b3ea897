//! Why a component can be no tool. The texts are for whoever adds it.

use crate::failure::ToolFailure;
use crate::reflect::LeftOut;

/// Exports an error lists.
const LISTED_MAX: usize = 16;

/// Why a component can be no tool.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The runner itself cannot be set up on this machine.
    #[error("tools cannot run: {0}")]
    Setup(String),
    /// It is larger than a component may be.
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// It is something else than a component.
    #[error("this {0}")]
    NotAComponent(String),
    /// It does not compile.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// It imports what no tool is given.
    #[error(
        "the component imports {}, which no tool is given; a tool may import WASI 0.2 (cli, clocks, filesystem, io, random, \
         sockets), wasi:http/outgoing-handler@0.2.x, and store, batch and atomics of wasi:keyvalue@0.2.0-draft2",
        quoted(imports)
    )]
    Imports {
        /// Each of them, with its version.
        imports: Vec<String>,
    },
    /// What it imports is there, but not as it needs it.
    #[error("the component cannot be linked: {0}")]
    Link(String),
    /// It exports nothing that could be a tool.
    #[error(
        "the component exports nothing that can be a tool; expected the interface waggle:tool/tool@0.1.x, or functions whose \
         parameters and results are plain values; it exports {}",
        listed(exports)
    )]
    NothingUsable {
        /// What it does export, and why that is no tool.
        exports: Vec<LeftOut>,
    },
    /// Its `describe` failed.
    #[error("`describe` of the component failed: {0}")]
    Describe(ToolFailure),
    /// What it describes is not as `waggle:tool` says.
    #[error("the component describes {0}")]
    Definition(String),
    /// It describes something else every time.
    #[error(
        "`describe` of the component answered differently when it was asked a second time; it has to be constant"
    )]
    Inconstant,
    /// As many tools run as may at once.
    #[error("too many tools run at once to ask the component what it can do; try again")]
    Busy,
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn listed(exports: &[LeftOut]) -> String {
    if exports.is_empty() {
        return "nothing at all".into();
    }
    let mut listed: Vec<String> = exports
        .iter()
        .take(LISTED_MAX)
        .map(|left_out| format!("`{}` ({})", left_out.export, left_out.reason))
        .collect();
    if exports.len() > LISTED_MAX {
        listed.push(format!("and {} more", exports.len() - LISTED_MAX));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_listed_with_the_reason_and_a_bound() {
        let export = |number: usize| LeftOut {
            export: format!("function-{number}"),
            reason: "it takes a resource".into(),
        };
        let one = ComponentError::NothingUsable { exports: vec![export(1)] }.to_string();
        assert!(one.contains("waggle:tool/tool@0.1.x"), "{one}");
        assert!(one.ends_with("it exports `function-1` (it takes a resource)"), "{one}");
        let many = ComponentError::NothingUsable { exports: (0..40).map(export).collect() }.to_string();
        assert!(many.ends_with("`function-15` (it takes a resource), and 24 more"), "{many}");
        let none = ComponentError::NothingUsable { exports: Vec::new() }.to_string();
        assert!(none.ends_with("it exports nothing at all"), "{none}");
    }

    #[test]
    fn every_import_that_is_refused_is_named() {
        let imports = vec!["a:b/c@1.0.0".to_owned(), "print".to_owned()];
        let error = ComponentError::Imports { imports }.to_string();
        assert!(error.starts_with("the component imports `a:b/c@1.0.0`, `print`, which"), "{error}");
    }
}
