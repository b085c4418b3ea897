//! What a function gave, as JSON, written into a bound.

use super::schema::is_byte;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// Why there is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// It would be longer than it may.
    TooLarge,
    /// JSON cannot say it: what, as the end of a sentence.
    NotJson(String),
}

/// The value as JSON of at most `bytes_max` bytes.
///
/// # Errors
/// [`AnswerError`].
pub(crate) fn answer(value: &Val, kind: &Type, bytes_max: usize) -> Result<String, AnswerError> {
    let mut writer = Writer { text: String::new(), bytes_max };
    writer.value(value, kind)?;
    Ok(writer.text)
}

/// What a function says went wrong: its text, if that is what the error is, and JSON else.
///
/// # Errors
/// [`AnswerError`].
pub(crate) fn error_text(value: &Val, kind: &Type, bytes_max: usize) -> Result<String, AnswerError> {
    match value {
        Val::String(text) if text.len() <= bytes_max => Ok(text.clone()),
        value => answer(value, kind, bytes_max),
    }
}

struct Writer {
    text: String,
    bytes_max: usize,
}

impl Writer {
    fn put(&mut self, text: &str) -> Result<(), AnswerError> {
        if self.text.len() + text.len() > self.bytes_max {
            return Err(AnswerError::TooLarge);
        }
        self.text.push_str(text);
        Ok(())
    }

    fn display(&mut self, value: impl std::fmt::Display) -> Result<(), AnswerError> {
        self.put(&value.to_string())
    }

    fn string(&mut self, text: &str) -> Result<(), AnswerError> {
        // Looked at first, because what is escaped may be six times as long.
        if text.len() > self.bytes_max {
            return Err(AnswerError::TooLarge);
        }
        let quoted = serde_json::to_string(text);
        self.put(&quoted.map_err(|error| AnswerError::NotJson(error.to_string()))?)
    }

    fn float(&mut self, value: f64) -> Result<(), AnswerError> {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.display(number),
            None => Err(AnswerError::NotJson(format!("the number {value}"))),
        }
    }

    fn value(&mut self, value: &Val, kind: &Type) -> Result<(), AnswerError> {
        match (value, kind) {
            (Val::Bool(value), _) => self.display(value),
            (Val::S8(value), _) => self.display(value),
            (Val::U8(value), _) => self.display(value),
            (Val::S16(value), _) => self.display(value),
            (Val::U16(value), _) => self.display(value),
            (Val::S32(value), _) => self.display(value),
            (Val::U32(value), _) => self.display(value),
            (Val::S64(value), _) => self.display(value),
            (Val::U64(value), _) => self.display(value),
            (Val::Float32(value), _) => self.float(shortest(*value)),
            (Val::Float64(value), _) => self.float(*value),
            (Val::Char(value), _) => self.string(value.encode_utf8(&mut [0; 4])),
            (Val::String(text), _) | (Val::Enum(text), _) => self.string(text),
            (Val::List(items), Type::List(list)) if is_byte(&list.ty()) => self.bytes(items),
            (Val::List(items), Type::List(list)) => self.array(items, std::iter::repeat(list.ty())),
            (Val::Tuple(items), Type::Tuple(tuple)) => self.array(items, tuple.types()),
            (Val::Record(fields), Type::Record(record)) => {
                let kinds = record.fields().map(|field| field.ty);
                self.object(fields.iter().map(|(name, value)| (name.as_str(), value)).zip(kinds))
            }
            (Val::Option(None), _) => self.put("null"),
            (Val::Option(Some(value)), Type::Option(option)) => self.value(value, &option.ty()),
            (Val::Result(Ok(value)), Type::Result(outcome)) => {
                self.case("ok", value.as_deref(), outcome.ok())
            }
            (Val::Result(Err(value)), Type::Result(outcome)) => {
                self.case("error", value.as_deref(), outcome.err())
            }
            (Val::Variant(tag, value), Type::Variant(variant)) => {
                let case = variant.cases().find(|case| case.name == tag);
                self.tagged(tag, value.as_deref(), case.and_then(|case| case.ty))
            }
            (Val::Flags(names), _) => {
                let names: Vec<Val> = names.iter().cloned().map(Val::String).collect();
                self.array(&names, std::iter::repeat(Type::String))
            }
            _ => Err(AnswerError::NotJson("a resource, a stream or the like".into())),
        }
    }

    fn bytes(&mut self, items: &[Val]) -> Result<(), AnswerError> {
        if items.len() > self.bytes_max {
            return Err(AnswerError::TooLarge);
        }
        let byte = |item: &Val| if let Val::U8(byte) = item { *byte } else { 0 };
        let bytes: Vec<u8> = items.iter().map(byte).collect();
        self.string(&STANDARD.encode(bytes))
    }

    fn array(&mut self, items: &[Val], kinds: impl Iterator<Item = Type>) -> Result<(), AnswerError> {
        self.put("[")?;
        for (index, (item, kind)) in items.iter().zip(kinds).enumerate() {
            self.put(if index == 0 { "" } else { "," })?;
            self.value(item, &kind)?;
        }
        self.put("]")
    }

    fn object<'a>(
        &mut self,
        members: impl Iterator<Item = ((&'a str, &'a Val), Type)>,
    ) -> Result<(), AnswerError> {
        self.put("{")?;
        for (index, ((name, value), kind)) in members.enumerate() {
            self.put(if index == 0 { "" } else { "," })?;
            self.string(name)?;
            self.put(":")?;
            self.value(value, &kind)?;
        }
        self.put("}")
    }

    fn case(&mut self, name: &str, value: Option<&Val>, kind: Option<Type>) -> Result<(), AnswerError> {
        self.put("{")?;
        self.string(name)?;
        self.put(":")?;
        match (value, kind) {
            (Some(value), Some(kind)) => self.value(value, &kind)?,
            _ => self.put("null")?,
        }
        self.put("}")
    }

    fn tagged(&mut self, tag: &str, value: Option<&Val>, kind: Option<Type>) -> Result<(), AnswerError> {
        self.put("{\"tag\":")?;
        self.string(tag)?;
        if let (Some(value), Some(kind)) = (value, kind) {
            self.put(",\"value\":")?;
            self.value(value, &kind)?;
        }
        self.put("}")
    }
}

/// The number that a person would write for it: 0.1, where its value is 0.10000000149011612.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_error| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reflect::arguments::lower;
    use crate::reflect::testing::type_of;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn told(kind: &str, value: Val) -> Result<String, AnswerError> {
        answer(&value, &type_of(kind), 1_000)
    }

    #[test]
    fn what_arguments_say_results_say_in_the_same_words() {
        let check = |kind: &str, json: Value| {
            let kind = type_of(kind);
            let value = lower(&json!({"it": json}), &[("it".to_owned(), kind.clone())]).unwrap().remove(0);
            let told = answer(&value, &kind, 1_000).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json);
        };
        check("bool", json!(false));
        check("u64", json!(u64::MAX));
        check("s8", json!(-128));
        check("f32", json!(0.1));
        check("f64", json!(-1.5e-7));
        check("char", json!("\u{0}"));
        check("string", json!("\"quoted\"\n\u{202e}"));
        check("list<u8>", json!(""));
        check("list<u8>", json!("AQID"));
        check("list<list<u16>>", json!([[], [1, 2]]));
        check("tuple<bool, string>", json!([true, "x"]));
        check("option<string>", json!(null));
        check("list<option<u8>>", json!([1, null]));
        check("colour", json!("red"));
        check("rights", json!(["read", "write"]));
        check("payment", json!({"tag": "cash"}));
        check("payment", json!({"tag": "card", "value": "1"}));
        check("result<_, u8>", json!({"ok": null}));
        check("result<_, u8>", json!({"error": 7}));
        check("line", json!({"article": "tea", "count": 2, "note": null}));
    }

    #[test]
    fn numbers_that_json_has_not_are_named() {
        assert_eq!(told("f64", Val::Float64(f64::NAN)), Err(AnswerError::NotJson("the number NaN".into())));
        assert_eq!(
            told("f32", Val::Float32(f32::INFINITY)),
            Err(AnswerError::NotJson("the number inf".into()))
        );
    }

    #[test]
    fn nothing_longer_than_the_bound_is_written() {
        let text = |length: usize| Val::String("x".repeat(length));
        assert_eq!(told("string", text(998)).unwrap().len(), 1_000);
        assert_eq!(told("string", text(999)), Err(AnswerError::TooLarge));
        assert_eq!(told("list<string>", Val::List(vec![text(90); 100])), Err(AnswerError::TooLarge));
        assert_eq!(told("list<u8>", Val::List(vec![Val::U8(0); 900])), Err(AnswerError::TooLarge));
        assert_eq!(told("string", Val::String("\u{0}".repeat(500))), Err(AnswerError::TooLarge));
    }

    #[test]
    fn an_error_that_is_a_text_is_told_as_it_is() {
        let text = Val::String("no \"such\" order".into());
        assert_eq!(error_text(&text, &Type::String, 100).unwrap(), "no \"such\" order");
        assert_eq!(error_text(&Val::U8(4), &Type::U8, 100).unwrap(), "4");
    }

    proptest! {
        #[test]
        fn lines_come_back_as_they_went_in(
            lines in proptest::collection::vec((".{0,20}", any::<u8>(), proptest::option::of(".{0,5}")), 0..8)
        ) {
            thread_local!(static LINES: Type = type_of("list<line>"));
            let kind = LINES.with(Clone::clone);
            let json: Vec<_> = lines
                .iter()
                .map(|(article, count, note)| json!({"article": article, "count": count, "note": note}))
                .collect();
            let json = Value::Array(json);
            let values = lower(&json!({"it": json}), &[("it".to_owned(), kind.clone())]).unwrap();
            let told = answer(&values[0], &kind, 1 << 20).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json);
        }
    }
}
