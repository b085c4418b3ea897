//! JSON as the arguments of a function: by its types, with errors that say where, what was expected, and what was found.

use super::schema::is_byte;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// Characters of a string that an error quotes.
const QUOTED_CHARS_MAX: usize = 40;

/// The arguments of a function with these parameters. How deep `arguments` nests is bounded by whoever parsed it.
///
/// # Errors
/// A sentence: where in the arguments, what was expected there, and what was found.
pub(crate) fn lower(arguments: &Value, parameters: &[(String, Type)]) -> Result<Vec<Val>, String> {
    let mut lowering = Lowering { path: String::new() };
    let Value::Object(members) = arguments else { return lowering.mismatch("an object", arguments) };
    let fields = parameters.iter().map(|(name, kind)| (name.as_str(), kind.clone()));
    lowering.members(members, fields)?.into_iter().map(|(_name, value)| Ok(value)).collect()
}

struct Lowering {
    /// Where it is, as in `order.lines[2].count`; empty at the top.
    path: String,
}

impl Lowering {
    fn mismatch<T>(&self, expected: &str, found: &Value) -> Result<T, String> {
        Err(format!("{}: expected {expected}, found {}", self.place(), told(found)))
    }

    fn place(&self) -> String {
        if self.path.is_empty() { "the arguments".into() } else { format!("`{}`", self.path) }
    }

    /// One step inwards and back.
    fn inside<T>(
        &mut self,
        step: std::fmt::Arguments<'_>,
        go: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let outside = self.path.len();
        let _ = self.path.write_fmt(step);
        let gone = go(self);
        self.path.truncate(outside);
        gone
    }

    fn member<T>(
        &mut self,
        name: &str,
        go: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.inside(format_args!("{dot}{name}"), go)
    }

    fn value(&mut self, json: &Value, kind: &Type) -> Result<Val, String> {
        Ok(match kind {
            Type::Bool => match json {
                Value::Bool(value) => Val::Bool(*value),
                _ => return self.mismatch("true or false", json),
            },
            Type::S8 => Val::S8(self.integer(json, i8::MIN, i8::MAX)?),
            Type::U8 => Val::U8(self.integer(json, u8::MIN, u8::MAX)?),
            Type::S16 => Val::S16(self.integer(json, i16::MIN, i16::MAX)?),
            Type::U16 => Val::U16(self.integer(json, u16::MIN, u16::MAX)?),
            Type::S32 => Val::S32(self.integer(json, i32::MIN, i32::MAX)?),
            Type::U32 => Val::U32(self.integer(json, u32::MIN, u32::MAX)?),
            Type::S64 => Val::S64(self.integer(json, i64::MIN, i64::MAX)?),
            Type::U64 => Val::U64(self.integer(json, u64::MIN, u64::MAX)?),
            Type::Float32 => Val::Float32(self.float32(json)?),
            Type::Float64 => match json.as_f64() {
                Some(value) => Val::Float64(value),
                None => return self.mismatch("a number", json),
            },
            Type::Char => Val::Char(self.character(json)?),
            Type::String => Val::String(self.text(json, "a string")?.to_owned()),
            Type::List(list) if is_byte(&list.ty()) => self.bytes(json)?,
            Type::List(list) => Val::List(self.items(json, std::iter::repeat(list.ty()), None)?),
            Type::Tuple(tuple) => Val::Tuple(self.items(json, tuple.types(), Some(tuple.types().len()))?),
            Type::Record(record) => {
                let Value::Object(members) = json else { return self.mismatch("an object", json) };
                let fields: Vec<_> = record.fields().map(|field| (field.name.to_owned(), field.ty)).collect();
                let fields = fields.iter().map(|(name, kind)| (name.as_str(), kind.clone()));
                Val::Record(self.members(members, fields)?)
            }
            Type::Option(_) if json.is_null() => Val::Option(None),
            Type::Option(option) => Val::Option(Some(Box::new(self.value(json, &option.ty())?))),
            Type::Result(outcome) => self.outcome(json, outcome.ok(), outcome.err())?,
            Type::Variant(variant) => {
                let cases: Vec<_> = variant.cases().map(|case| (case.name.to_owned(), case.ty)).collect();
                self.variant(json, cases)?
            }
            Type::Enum(names) => Val::Enum(self.one_of(json, names.names())?),
            Type::Flags(names) => self.flags(json, &names.names().collect::<Vec<_>>())?,
            // A function that takes anything else is no tool.
            _ => return self.mismatch("a value of a type that JSON can say", json),
        })
    }

    /// The values of these members, in the order of the fields. No others may be there, and only options may be missing.
    fn members<'a>(
        &mut self,
        members: &Map<String, Value>,
        fields: impl Iterator<Item = (&'a str, Type)>,
    ) -> Result<Vec<(String, Val)>, String> {
        let mut values = Vec::new();
        for (name, kind) in fields {
            let value = match (members.get(name), &kind) {
                (Some(json), kind) => self.member(name, |inside| inside.value(json, kind))?,
                (None, Type::Option(_)) => Val::Option(None),
                (None, _) => return Err(format!("{}: the member `{name}` is missing", self.place())),
            };
            values.push((name.to_owned(), value));
        }
        let known = |name: &String| values.iter().any(|(known, _value)| known == name);
        if let Some(unknown) = members.keys().find(|name| !known(name)) {
            let known: Vec<_> = values.iter().map(|(name, _value)| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let unknown = cut_chars(unknown);
            return Err(format!("{}: there is no member `{unknown}`; there are {known}", self.place()));
        }
        Ok(values)
    }

    fn items(
        &mut self,
        json: &Value,
        kinds: impl Iterator<Item = Type>,
        count: Option<usize>,
    ) -> Result<Vec<Val>, String> {
        let Value::Array(items) = json else { return self.mismatch("an array", json) };
        if let Some(count) = count.filter(|count| *count != items.len()) {
            let found = items.len();
            return Err(format!("{}: expected an array of {count}, found one of {found}", self.place()));
        }
        let one = |(index, (item, kind)): (usize, (&Value, Type))| {
            self.inside(format_args!("[{index}]"), |inside| inside.value(item, &kind))
        };
        items.iter().zip(kinds).enumerate().map(one).collect()
    }

    fn integer<T: TryFrom<i128> + Into<i128>>(&self, json: &Value, least: T, most: T) -> Result<T, String> {
        let (least, most): (i128, i128) = (least.into(), most.into());
        match whole(json).filter(|value| (least..=most).contains(value)).map(T::try_from) {
            Some(Ok(value)) => Ok(value),
            _ => self.mismatch(&format!("a whole number from {least} to {most}"), json),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounding is what a 32-bit number asks for")]
    fn float32(&self, json: &Value) -> Result<f32, String> {
        match json.as_f64().map(|value| value as f32).filter(|value| value.is_finite()) {
            Some(value) => Ok(value),
            None => self.mismatch("a number that 32 bits can hold", json),
        }
    }

    fn text<'a>(&self, json: &'a Value, expected: &str) -> Result<&'a str, String> {
        json.as_str().map_or_else(|| self.mismatch(expected, json), Ok)
    }

    fn character(&self, json: &Value) -> Result<char, String> {
        let mut characters = self.text(json, "a string of one character")?.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            _ => self.mismatch("a string of one character", json),
        }
    }

    fn bytes(&self, json: &Value) -> Result<Val, String> {
        let expected = "a string in Base64";
        match STANDARD.decode(self.text(json, expected)?) {
            Ok(bytes) => Ok(Val::List(bytes.into_iter().map(Val::U8).collect())),
            Err(_error) => self.mismatch(expected, json),
        }
    }

    fn one_of<'a>(&self, json: &Value, names: impl Iterator<Item = &'a str>) -> Result<String, String> {
        let names: Vec<_> = names.collect();
        match json.as_str().filter(|name| names.contains(name)) {
            Some(name) => Ok(name.to_owned()),
            None => self.mismatch(&one_of(&names), json),
        }
    }

    fn flags(&mut self, json: &Value, names: &[&str]) -> Result<Val, String> {
        let Value::Array(items) = json else { return self.mismatch("an array", json) };
        let mut flags: Vec<String> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let flag =
                self.inside(format_args!("[{index}]"), |inside| inside.one_of(item, names.iter().copied()))?;
            if flags.contains(&flag) {
                return Err(format!("{}: `{flag}` is there twice", self.place()));
            }
            flags.push(flag);
        }
        Ok(Val::Flags(flags))
    }

    /// `{"ok": …}` or `{"error": …}`.
    fn outcome(&mut self, json: &Value, ok: Option<Type>, error: Option<Type>) -> Result<Val, String> {
        let expected = "an object with one member, `ok` or `error`";
        let Value::Object(members) = json else { return self.mismatch(expected, json) };
        let mut members = members.iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return self.mismatch(expected, json);
        };
        match name.as_str() {
            "ok" => Ok(Val::Result(Ok(self.payload("ok", value, ok)?))),
            "error" => Ok(Val::Result(Err(self.payload("error", value, error)?))),
            _ => self.mismatch(expected, json),
        }
    }

    fn payload(&mut self, name: &str, json: &Value, kind: Option<Type>) -> Result<Option<Box<Val>>, String> {
        self.member(name, |inside| match kind {
            Some(kind) => inside.value(json, &kind).map(|value| Some(Box::new(value))),
            None if json.is_null() => Ok(None),
            None => inside.mismatch("null", json),
        })
    }

    /// `{"tag": …, "value": …}`.
    fn variant(&mut self, json: &Value, cases: Vec<(String, Option<Type>)>) -> Result<Val, String> {
        let expected = "an object with `tag` and, where the case has one, `value`";
        let Value::Object(members) = json else { return self.mismatch(expected, json) };
        let tag = members.get("tag").unwrap_or(&Value::Null);
        let names = cases.iter().map(|(name, _kind)| name.as_str());
        let tag = self.member("tag", |inside| inside.one_of(tag, names))?;
        let kind = cases.into_iter().find(|(name, _kind)| *name == tag).and_then(|(_name, kind)| kind);
        if members.len() > 2 || (members.len() == 2 && !members.contains_key("value")) {
            return self.mismatch(expected, json);
        }
        let value = members.get("value").unwrap_or(&Value::Null);
        let value = self.payload("value", value, kind)?;
        Ok(Val::Variant(tag, value))
    }
}

/// A whole number, also where it is written with a fraction of zero, which JSON Schema takes for an integer, too.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and within what 64 bits hold exactly")]
fn whole(json: &Value) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number = json.as_number()?;
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
        number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() <= EXACT_MAX).map(|it| it as i128)
    })
}

fn one_of(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("one of {}", names.join(", "))
}

/// What was found, in few words.
fn told(json: &Value) -> String {
    match json {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {:?}", cut_chars(text)),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

fn cut_chars(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reflect::testing::type_of;
    use serde_json::json;

    fn lowered(kind: &str, json: Value) -> Result<Val, String> {
        let parameters = [("it".to_owned(), type_of(kind))];
        lower(&json!({"it": json}), &parameters).map(|mut values| values.remove(0))
    }

    #[test]
    fn json_becomes_values_of_the_type() {
        let text = |text: &str| Val::String(text.into());
        let some = |value: Val| Some(Box::new(value));
        let check = |kind: &str, json: Value, expected: Val| {
            assert_eq!(lowered(kind, json), Ok(expected), "{kind}");
        };
        check("bool", json!(true), Val::Bool(true));
        check("u8", json!(255), Val::U8(255));
        check("u8", json!(3.0), Val::U8(3));
        check("s64", json!(i64::MIN), Val::S64(i64::MIN));
        check("u64", json!(u64::MAX), Val::U64(u64::MAX));
        check("f64", json!(1), Val::Float64(1.0));
        check("char", json!("ü"), Val::Char('ü'));
        check("list<u8>", json!("AQI="), Val::List(vec![Val::U8(1), Val::U8(2)]));
        check("list<string>", json!(["a"]), Val::List(vec![text("a")]));
        check("tuple<u8, string>", json!([1, "a"]), Val::Tuple(vec![Val::U8(1), text("a")]));
        check("option<u8>", json!(null), Val::Option(None));
        check("option<u8>", json!(1), Val::Option(some(Val::U8(1))));
        check("colour", json!("green"), Val::Enum("green".into()));
        check("rights", json!(["write"]), Val::Flags(vec!["write".into()]));
        check("payment", json!({"tag": "cash"}), Val::Variant("cash".into(), None));
        check("payment", json!({"tag": "card", "value": "4"}), Val::Variant("card".into(), some(text("4"))));
        check("result<u8, string>", json!({"error": "no"}), Val::Result(Err(some(text("no")))));
        check("result", json!({"ok": null}), Val::Result(Ok(None)));
        check(
            "line",
            json!({"count": 2, "article": "tea"}),
            Val::Record(vec![
                ("article".into(), text("tea")),
                ("count".into(), Val::U8(2)),
                ("note".into(), Val::Option(None)),
            ]),
        );
    }

    #[test]
    fn an_error_says_where_what_was_expected_and_what_was_found() {
        let check = |kind: &str, json: Value, expected: &str| {
            assert_eq!(lowered(kind, json).unwrap_err(), expected, "{kind}");
        };
        check("u8", json!(256), "`it`: expected a whole number from 0 to 255, found the number 256");
        check("u8", json!(1.5), "`it`: expected a whole number from 0 to 255, found the number 1.5");
        check("s8", json!("1"), "`it`: expected a whole number from -128 to 127, found the string \"1\"");
        check(
            "u64",
            json!(-1),
            "`it`: expected a whole number from 0 to 18446744073709551615, found the number -1",
        );
        check("f32", json!("1"), "`it`: expected a number that 32 bits can hold, found the string \"1\"");
        assert!(lowered("f32", json!(1e300)).is_err(), "32 bits cannot hold it");
        check("char", json!("ab"), "`it`: expected a string of one character, found the string \"ab\"");
        check("list<u8>", json!("?"), "`it`: expected a string in Base64, found the string \"?\"");
        check("list<bool>", json!([true, 1]), "`it[1]`: expected true or false, found the number 1");
        check("tuple<u8, u8>", json!([1]), "`it`: expected an array of 2, found one of 1");
        check("colour", json!("blue"), "`it`: expected one of \"red\", \"green\", found the string \"blue\"");
        check("rights", json!(["read", "read"]), "`it`: `read` is there twice");
        check("line", json!({"article": "tea"}), "`it`: the member `count` is missing");
        check(
            "list<line>",
            json!([{"article": "tea", "count": -1}]),
            "`it[0].count`: expected a whole number from 0 to 255, found the number -1",
        );
        check(
            "line",
            json!({"article": "tea", "count": 1, "price": 2}),
            "`it`: there is no member `price`; there are `article`, `count`, `note`",
        );
        check("payment", json!({"tag": "card"}), "`it.value`: expected a string, found null");
        check("payment", json!({"tag": "cash", "value": 1}), "`it.value`: expected null, found the number 1");
        check("payment", json!({}), "`it.tag`: expected one of \"cash\", \"card\", found null");
    }

    #[test]
    fn the_arguments_are_an_object_of_the_parameters() {
        let none: &[(String, Type)] = &[];
        assert_eq!(lower(&json!({}), none), Ok(Vec::new()));
        assert_eq!(lower(&json!([]), none).unwrap_err(), "the arguments: expected an object, found an array");
        assert_eq!(
            lower(&json!({"x": 1}), none).unwrap_err(),
            "the arguments: there is no member `x`; there are none"
        );
    }
}
