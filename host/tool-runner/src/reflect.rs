//! Functions of a plain component as tools: what their types say in JSON Schema, JSON as their arguments, and their results
//! as JSON. `docs/tools/components.md` has the table of types.

mod answer;
mod arguments;
mod schema;
#[cfg(test)]
mod testing;

pub(crate) use answer::{AnswerError, answer, error_text};
pub(crate) use arguments::lower;

use crate::definition::{FUNCTIONS_MAX, FunctionDescription, SCHEMA_BYTES_MAX, is_name};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::HashMap;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex};

/// An export that is no tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name, of a function in an interface `INTERFACE.FUNCTION`.
    pub export: String,
    /// Why, as a clause: `it takes a resource`.
    pub reason: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.export, self.reason)
    }
}

/// A function that is a tool.
pub(crate) struct PlainFunction {
    pub(crate) description: FunctionDescription,
    pub(crate) index: ComponentExportIndex,
    /// Names and types, in their order.
    pub(crate) parameters: Vec<(String, Type)>,
    pub(crate) result: Option<Type>,
}

/// An exported function, before it is known whether it can be a tool.
struct Export {
    interface: Option<String>,
    function: String,
    kind: ComponentFunc,
    index: ComponentExportIndex,
}

impl Export {
    fn full_name(&self) -> String {
        match &self.interface {
            None => self.function.clone(),
            Some(interface) => format!("{interface}.{}", self.function),
        }
    }

    /// A name with its interface, for functions whose own names clash: `orders_find` of `shop:api/orders@1.0.0`.
    fn long_name(&self) -> String {
        let interface = self.interface.as_deref().unwrap_or_default();
        let interface = interface.split('@').next().unwrap_or_default();
        let short = interface.rsplit('/').next().unwrap_or_default();
        if short.is_empty() { self.function.clone() } else { format!("{short}_{}", self.function) }
    }

    fn description(&self) -> String {
        match &self.interface {
            None => format!("The function `{}` of the component.", self.function),
            Some(interface) => format!("The function `{}` of the interface `{interface}`.", self.function),
        }
    }
}

/// The exported functions of a component that can be tools, and what is left out. `changes`: whether it may change anything
/// outside, for all that is known; types don't say.
pub(crate) fn reflect(component: &Component, changes: bool) -> (Vec<PlainFunction>, Vec<LeftOut>) {
    let (exports, mut left_out) = exports(component);
    let names = names(&exports);
    let (mut functions, mut used) = (Vec::new(), HashMap::new());
    for (export, name) in exports.into_iter().zip(names) {
        let full_name = export.full_name();
        let made = if functions.len() == FUNCTIONS_MAX {
            Err(format!("a tool has at most {FUNCTIONS_MAX} functions"))
        } else if let Some(other) = used.get(&name) {
            Err(format!("`{other}` has its name, `{name}`"))
        } else {
            function(export, &name, changes)
        };
        match made {
            Ok(function) => {
                used.insert(name, full_name);
                functions.push(function);
            }
            Err(reason) => left_out.push(LeftOut { export: full_name, reason }),
        }
    }
    (functions, left_out)
}

/// All functions at the root and in exported interfaces; and the exports that have none.
fn exports(component: &Component) -> (Vec<Export>, Vec<LeftOut>) {
    let (kind, engine) = (component.component_type(), component.engine());
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for (name, item) in kind.exports(engine) {
        let mut leave_out = |reason: &str| {
            left_out.push(LeftOut { export: name.to_owned(), reason: reason.to_owned() });
        };
        let Some(index) = component.get_export_index(None, name) else { continue };
        match item.ty {
            ComponentItem::ComponentFunc(kind) => {
                found.push(Export { interface: None, function: name.to_owned(), kind, index });
            }
            ComponentItem::ComponentInstance(_) if name.starts_with("wasi:") => {
                leave_out("it is of WASI, and no tool");
            }
            ComponentItem::ComponentInstance(instance) => {
                for (function, item) in instance.exports(engine) {
                    let ComponentItem::ComponentFunc(kind) = item.ty else { continue };
                    let Some(index) = component.get_export_index(Some(&index), function) else { continue };
                    let interface = Some(name.to_owned());
                    found.push(Export { interface, function: function.to_owned(), kind, index });
                }
            }
            ComponentItem::Type(_) | ComponentItem::Resource(_) => leave_out("it is a type"),
            _ => leave_out("it is no function"),
        }
    }
    (found, left_out)
}

/// What each is called as a tool: by its own name, unless several have that.
fn names(exports: &[Export]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for export in exports {
        *counts.entry(&export.function).or_default() += 1;
    }
    let name = |export: &Export| match counts.get(export.function.as_str()) {
        Some(1) => export.function.clone(),
        _ => export.long_name(),
    };
    exports.iter().map(name).collect()
}

fn function(export: Export, name: &str, changes: bool) -> Result<PlainFunction, String> {
    if export.function.starts_with('[') {
        return Err("it belongs to a resource".into());
    }
    if !is_name(name) {
        return Err(format!(
            "`{name}` cannot be the name of a tool, which has 1 to 48 characters of a-z, A-Z, 0-9, `_` and `-`"
        ));
    }
    let parameters: Vec<(String, Type)> =
        export.kind.params().map(|(name, kind)| (name.to_owned(), kind)).collect();
    let result = export.kind.results().next();
    let output = result.as_ref().map(schema::of_result).transpose()?.flatten();
    let description = FunctionDescription {
        name: name.to_owned(),
        description: export.description(),
        parameters: raw(&schema::of_parameters(&parameters)?)?,
        output: output.as_ref().map(raw).transpose()?,
        side_effects: changes,
        idempotent: !changes,
        needs_approval: false,
    };
    Ok(PlainFunction { description, index: export.index, parameters, result })
}

fn raw(schema: &serde_json::Value) -> Result<Box<RawValue>, String> {
    let raw = to_raw_value(schema).map_err(|error| error.to_string())?;
    if raw.get().len() > SCHEMA_BYTES_MAX {
        return Err(format!("its types take more than {SCHEMA_BYTES_MAX} bytes of JSON Schema"));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::testing::component;
    use super::*;
    use serde_json::{Value, json};

    fn reflected(wit: &str) -> (Vec<PlainFunction>, Vec<LeftOut>) {
        reflect(&component(wit), false)
    }

    fn names_of(functions: &[PlainFunction]) -> Vec<&str> {
        functions.iter().map(|function| function.description.name.as_str()).collect()
    }

    #[test]
    fn functions_at_the_root_and_in_interfaces_are_tools() {
        let (functions, left_out) = reflected(
            "interface orders { find: func(id: u32) -> string; }
             world shop { export greet: func(name: string) -> string; export orders; }",
        );
        let mut names = names_of(&functions);
        names.sort_unstable();
        assert_eq!(names, ["find", "greet"]);
        assert_eq!(left_out, []);
        let find = functions.iter().find(|function| function.description.name == "find").unwrap();
        let find = &find.description;
        assert_eq!(find.description, "The function `find` of the interface `test:shop/orders@1.2.3`.");
        let parameters: Value = serde_json::from_str(find.parameters.get()).unwrap();
        assert_eq!(
            parameters,
            json!({
                "type": "object",
                "properties": {"id": {"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32}},
                "required": ["id"],
                "additionalProperties": false
            })
        );
        assert_eq!(find.output.as_ref().unwrap().get(), r#"{"type":"string"}"#);
    }

    #[test]
    fn functions_of_one_name_are_told_apart_by_their_interfaces() {
        let (functions, left_out) = reflected(
            "interface a { find: func(); } interface b { find: func(); }
             world shop { export a; export b; export other: func(); }",
        );
        let mut names = names_of(&functions);
        names.sort_unstable();
        assert_eq!(names, ["a_find", "b_find", "other"]);
        assert_eq!(left_out, []);
    }

    #[test]
    fn what_cannot_be_said_in_json_is_left_out_with_the_reason() {
        let (functions, left_out) = reflected(
            "interface things {
                 resource thing { get: func() -> u32; }
                 take: func(thing: borrow<thing>);
                 nested: func(a: option<option<u8>>);
                 fine: func();
             }
             world shop { export things; }",
        );
        assert_eq!(names_of(&functions), ["fine"]);
        let reason = |export: &str| {
            let full = format!("test:shop/things@1.2.3.{export}");
            left_out.iter().find(|left_out| left_out.export == full).unwrap().reason.as_str()
        };
        assert_eq!(reason("[method]thing.get"), "it belongs to a resource");
        assert_eq!(reason("take"), "it takes a resource");
        assert_eq!(reason("nested"), "it takes an option of an option, which JSON cannot tell apart");
    }

    #[test]
    fn what_a_component_may_change_is_said_of_all_its_functions() {
        let component = component("world shop { export greet: func(); }");
        let flags = |changes: bool| {
            let description = reflect(&component, changes).0.remove(0).description;
            (description.side_effects, description.idempotent)
        };
        assert_eq!(flags(true), (true, false));
        assert_eq!(flags(false), (false, true));
    }
}
