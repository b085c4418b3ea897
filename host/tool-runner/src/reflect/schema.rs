//! WIT types as JSON Schema (2020-12).

use serde_json::{Map, Value, json};
use wasmtime::component::types::Type;

/// Parts that the schema of one function may have. A type that is used twice counts twice, so that a few lines of WIT
/// cannot grow without end.
const PARTS_MAX: usize = 512;
/// How deep types may nest.
const DEPTH_MAX: usize = 32;

/// The schema of a function's arguments.
///
/// # Errors
/// Why it has none, as a clause: `it takes a resource`.
pub(crate) fn of_parameters(parameters: &[(String, Type)]) -> Result<Value, String> {
    let mut schemas = Schemas { parts_left: PARTS_MAX, verb: "takes" };
    let fields = parameters.iter().map(|(name, kind)| (name.as_str(), kind.clone()));
    schemas.object(fields, 0)
}

/// The schema of what a function gives when it succeeds; none when that is nothing.
///
/// # Errors
/// As [`of_parameters`].
pub(crate) fn of_result(result: &Type) -> Result<Option<Value>, String> {
    let mut schemas = Schemas { parts_left: PARTS_MAX, verb: "gives" };
    let Type::Result(outcome) = result else { return schemas.of(result, 0).map(Some) };
    if let Some(error) = outcome.err() {
        // It is told as a failure, in JSON all the same.
        schemas.of(&error, 0)?;
    }
    outcome.ok().map(|kind| schemas.of(&kind, 0)).transpose()
}

/// Whether elements of this type make a list that is told as Base64.
pub(crate) fn is_byte(element: &Type) -> bool {
    matches!(element, Type::U8)
}

struct Schemas {
    parts_left: usize,
    /// What the function does with the values: it `takes` or `gives` them.
    verb: &'static str,
}

impl Schemas {
    fn refuse<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("it {} {what}", self.verb))
    }

    fn of(&mut self, kind: &Type, depth: usize) -> Result<Value, String> {
        if self.parts_left == 0 || depth > DEPTH_MAX {
            return self.refuse("types that are too large or nest too deep");
        }
        self.parts_left -= 1;
        let inner = depth + 1;
        Ok(match kind {
            Type::Bool => json!({"type": "boolean"}),
            Type::S8 => integer(i8::MIN, i8::MAX),
            Type::U8 => integer(u8::MIN, u8::MAX),
            Type::S16 => integer(i16::MIN, i16::MAX),
            Type::U16 => integer(u16::MIN, u16::MAX),
            Type::S32 => integer(i32::MIN, i32::MAX),
            Type::U32 => integer(u32::MIN, u32::MAX),
            Type::S64 => integer(i64::MIN, i64::MAX),
            Type::U64 => integer(u64::MIN, u64::MAX),
            Type::Float32 | Type::Float64 => json!({"type": "number"}),
            Type::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Type::String => json!({"type": "string"}),
            Type::List(list) if is_byte(&list.ty()) => json!({"type": "string", "contentEncoding": "base64"}),
            Type::List(list) => json!({"type": "array", "items": self.of(&list.ty(), inner)?}),
            Type::Tuple(tuple) => {
                let items = tuple.types().map(|kind| self.of(&kind, inner));
                let items = items.collect::<Result<Vec<_>, _>>()?;
                let count = items.len();
                json!({"type": "array", "prefixItems": items, "minItems": count, "maxItems": count})
            }
            Type::Record(record) => {
                let fields: Vec<_> = record.fields().map(|field| (field.name.to_owned(), field.ty)).collect();
                self.object(fields.iter().map(|(name, kind)| (name.as_str(), kind.clone())), inner)?
            }
            Type::Option(option) => match option.ty() {
                Type::Option(_) => {
                    return self.refuse("an option of an option, which JSON cannot tell apart");
                }
                kind => json!({"anyOf": [self.of(&kind, inner)?, {"type": "null"}]}),
            },
            Type::Result(outcome) => {
                let ok = self.case("ok", outcome.ok(), inner)?;
                let error = self.case("error", outcome.err(), inner)?;
                json!({"oneOf": [ok, error]})
            }
            Type::Variant(variant) => {
                let cases: Vec<_> = variant.cases().map(|case| (case.name.to_owned(), case.ty)).collect();
                let cases = cases.into_iter().map(|(tag, kind)| self.tagged(&tag, kind, inner));
                json!({"oneOf": cases.collect::<Result<Vec<_>, _>>()?})
            }
            Type::Enum(names) => json!({"type": "string", "enum": names.names().collect::<Vec<_>>()}),
            Type::Flags(names) => json!({
                "type": "array",
                "items": {"type": "string", "enum": names.names().collect::<Vec<_>>()},
                "uniqueItems": true
            }),
            Type::Own(_) | Type::Borrow(_) => return self.refuse("a resource"),
            Type::Future(_) | Type::Stream(_) => return self.refuse("a future or a stream"),
            Type::ErrorContext => return self.refuse("an error-context"),
            Type::Map(_) | Type::FixedLengthList(_) => return self.refuse("a map or a list of fixed length"),
        })
    }

    /// An object with these members, of which options need not be there.
    fn object<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a str, Type)>,
        depth: usize,
    ) -> Result<Value, String> {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for (name, kind) in fields {
            if !matches!(kind, Type::Option(_)) {
                required.push(name.to_owned());
            }
            properties.insert(name.to_owned(), self.of(&kind, depth + 1)?);
        }
        Ok(json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false
        }))
    }

    /// `{"ok": …}` or `{"error": …}`; null where there is no value.
    fn case(&mut self, name: &str, kind: Option<Type>, depth: usize) -> Result<Value, String> {
        let value = kind.map_or_else(|| Ok(json!({"type": "null"})), |kind| self.of(&kind, depth))?;
        Ok(json!({
            "type": "object",
            "properties": {name: value},
            "required": [name],
            "additionalProperties": false
        }))
    }

    /// `{"tag": …, "value": …}`, of a case without a value only the tag.
    fn tagged(&mut self, tag: &str, kind: Option<Type>, depth: usize) -> Result<Value, String> {
        let mut properties = Map::from_iter([("tag".to_owned(), json!({"const": tag}))]);
        let mut required = vec!["tag"];
        if let Some(kind) = kind {
            properties.insert("value".to_owned(), self.of(&kind, depth)?);
            required.push("value");
        }
        Ok(json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false
        }))
    }
}

fn integer(least: impl Into<serde_json::Number>, most: impl Into<serde_json::Number>) -> Value {
    json!({"type": "integer", "minimum": least.into(), "maximum": most.into()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reflect::testing::{component, type_of};
    use wasmtime::component::types::ComponentItem;

    fn schema(kind: &str) -> Result<Value, String> {
        Schemas { parts_left: PARTS_MAX, verb: "takes" }.of(&type_of(kind), 0)
    }

    #[test]
    fn each_type_has_its_schema() {
        let check = |kind: &str, expected: Value| assert_eq!(schema(kind).unwrap(), expected, "{kind}");
        check("bool", json!({"type": "boolean"}));
        check("s8", json!({"type": "integer", "minimum": -128, "maximum": 127}));
        check("u64", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}));
        check("f32", json!({"type": "number"}));
        check("char", json!({"type": "string", "minLength": 1, "maxLength": 1}));
        check("list<u8>", json!({"type": "string", "contentEncoding": "base64"}));
        check("list<bool>", json!({"type": "array", "items": {"type": "boolean"}}));
        check("option<bool>", json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}));
        check("colour", json!({"type": "string", "enum": ["red", "green"]}));
        check(
            "rights",
            json!({
                "type": "array",
                "items": {"type": "string", "enum": ["read", "write"]},
                "uniqueItems": true
            }),
        );
        check(
            "tuple<bool, string>",
            json!({
                "type": "array",
                "prefixItems": [{"type": "boolean"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2
            }),
        );
    }

    #[test]
    fn records_variants_and_results_are_closed_objects() {
        let line = schema("line").unwrap();
        assert_eq!(line["required"], json!(["article", "count"]), "an option need not be there");
        assert_eq!(line["additionalProperties"], json!(false));
        let payment = schema("payment").unwrap();
        assert_eq!(payment["oneOf"][0]["required"], json!(["tag"]));
        assert_eq!(payment["oneOf"][1]["properties"]["tag"], json!({"const": "card"}));
        assert_eq!(payment["oneOf"][1]["properties"]["value"], json!({"type": "string"}));
        let outcome = schema("result<u8>").unwrap();
        assert_eq!(outcome["oneOf"][0]["required"], json!(["ok"]));
        assert_eq!(outcome["oneOf"][1]["properties"]["error"], json!({"type": "null"}));
    }

    #[test]
    fn types_that_grow_without_end_are_refused() {
        let mut wit = "interface types { type t0 = tuple<bool, bool>;".to_owned();
        for level in 1..12 {
            let below = level - 1;
            wit.push_str(&format!("type t{level} = tuple<t{below}, t{below}>;"));
        }
        wit.push_str("take: func(it: list<t11>); } world shop { export types; }");
        // Wasmtime has a bound of its own, which may come first.
        let Ok(component) = std::panic::catch_unwind(|| component(&wit)) else { return };
        let (kind, engine) = (component.component_type(), component.engine());
        let ComponentItem::ComponentInstance(types) = kind.exports(engine).next().unwrap().1.ty else {
            panic!("no interface")
        };
        let ComponentItem::ComponentFunc(take) = types.get_export(engine, "take").unwrap().ty else {
            panic!("no function")
        };
        let parameters: Vec<_> = take.params().map(|(name, kind)| (name.to_owned(), kind)).collect();
        assert_eq!(
            of_parameters(&parameters).unwrap_err(),
            "it takes types that are too large or nest too deep"
        );
    }
}
