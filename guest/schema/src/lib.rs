//! JSON Schema (draft 2020-12), as far as the answer of a model and the arguments of a tool are held to one.
//!
//! All keywords that say something of the instance itself are here, but those that need to know what other keywords
//! have looked at (`unevaluatedProperties`, `unevaluatedItems`) or where a reference was followed from
//! (`$dynamicRef`). [`Schema::read`] refuses a schema with one of these, as it does one with a mistake: who wrote it is
//! there to mend it. [`Schema::read_lenient`] leaves such parts out: the schemas of tools come from strangers, and a tool
//! is not to be lost for a keyword that nobody knows. References lead to places of the same document (`#`, `#/$defs/a`)
//! and nowhere else: nothing is ever fetched. `format` is an annotation, as the draft has it. Whole libraries for it are
//! four times as large as a function: docs/decisions/0012-answers-are-held-to-schemas.md.

mod check;
mod decimal;
mod describe;
mod lenient;
mod read;

use regex_lite::Regex;
use serde_json::Value;
use std::collections::HashMap;

/// A schema that was read and found to be one.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    /// Its patterns, compiled.
    patterns: HashMap<String, Regex>,
}

/// Why a text is no schema, or none this crate knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("at '{at}': {reason}")]
pub struct SchemaError {
    /// Where, as a JSON pointer.
    pub at: String,
    /// What is wrong.
    pub reason: String,
}

/// Where an instance does not fit.
#[derive(Debug, PartialEq)]
pub struct Mismatch<'s> {
    /// The keyword that it does not fit; `false` for a schema that nothing fits.
    pub keyword: &'static str,
    /// What the schema says there.
    expected: Option<&'s Value>,
    /// The place in the instance, innermost first.
    path: Vec<String>,
}

impl Mismatch<'_> {
    /// The place in the instance, as a JSON pointer.
    pub fn pointer(&self) -> String {
        self.path.iter().rev().map(|name| format!("/{}", escaped(name))).collect()
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Schema {
    /// The schema itself.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Where the reference leads; `None` when that is out of the document, or nowhere.
    fn target(&self, reference: &str) -> Option<&Value> {
        target(&self.root, reference)
    }
}

fn target<'v>(root: &'v Value, reference: &str) -> Option<&'v Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Whoever wrote the draft's own test suite into code is asked as well.
    fn check(schema: &Value, fits: &[Value], fails: &[Value]) {
        let ours = Schema::read(&schema.to_string()).unwrap_or_else(|error| panic!("{schema}: {error:?}"));
        let theirs = jsonschema::validator_for(schema).unwrap();
        for (instance, expected) in
            fits.iter().map(|fit| (fit, true)).chain(fails.iter().map(|fail| (fail, false)))
        {
            assert_eq!(theirs.is_valid(instance), expected, "the library: {instance} in {schema}");
            assert_eq!(ours.check(instance).is_ok(), expected, "{instance} in {schema}");
        }
    }

    #[test]
    fn every_keyword_holds_what_it_says() {
        let all = [json!(null), json!(true), json!(1), json!(1.5), json!("a"), json!([]), json!({})];
        check(&json!(true), &all, &[]);
        check(&json!({}), &all, &[]);
        check(&json!(false), &[], &all);
        check(&json!({"type": "integer"}), &[json!(1), json!(1.0)], &[json!(1.5), json!("1")]);
        check(&json!({"type": ["null", "string"]}), &[json!(null), json!("")], &[json!(0), json!([])]);
        check(
            &json!({"enum": [1, "a", [2], null]}),
            &[json!(1.0), json!([2.0]), json!(null)],
            &[json!("b"), json!([])],
        );
        check(
            &json!({"const": {"a": [1]}}),
            &[json!({"a": [1]})],
            &[json!({"a": [1], "b": 1}), json!({"a": [2]})],
        );
        check(
            &json!({"minimum": 1, "exclusiveMaximum": 3}),
            &[json!(1), json!(2.9), json!("x")],
            &[json!(0), json!(3)],
        );
        check(
            &json!({"maximum": 1, "exclusiveMinimum": 0}),
            &[json!(0.5), json!(1)],
            &[json!(0), json!(1.5)],
        );
        check(&json!({"multipleOf": 0.1}), &[json!(0.3), json!(2)], &[json!(0.25)]);
        check(&json!({"multipleOf": 3}), &[json!(9), json!(-3), json!("x")], &[json!(10)]);
        check(
            &json!({"minLength": 2, "maxLength": 3}),
            &[json!("éé"), json!("你好吗"), json!(1)],
            &[json!("é"), json!("abcd")],
        );
        check(&json!({"pattern": "^a+$"}), &[json!("aa"), json!(1)], &[json!("ab")]);
    }

    #[test]
    fn arrays_and_objects_are_held_to_their_schemas() {
        check(
            &json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}),
            &[json!(["a"]), json!(["a", 1, 2]), json!("x")],
            &[json!([]), json!([1]), json!(["a", "b"]), json!(["a", 1, 2, 3])],
        );
        check(
            &json!({"uniqueItems": true}),
            &[json!([1, 2, "1"])],
            &[json!([1, 1.0]), json!([{"a": 1}, {"a": 1}])],
        );
        check(
            &json!({"contains": {"type": "integer"}, "minContains": 2, "maxContains": 3}),
            &[json!([1, 2, "a"]), json!(1)],
            &[json!([1]), json!([1, 2, 3, 4])],
        );
        check(
            &json!({"properties": {"a": {"type": "integer"}}, "patternProperties": {"^x-": {"type": "string"}},
                "required": ["a"], "additionalProperties": false, "maxProperties": 2, "minProperties": 1}),
            &[json!({"a": 1}), json!({"a": 1, "x-b": "c"}), json!([])],
            &[
                json!({}),
                json!({"a": "1"}),
                json!({"a": 1, "b": 1}),
                json!({"a": 1, "x-b": 1}),
                json!({"a": 1, "x-b": "", "x-c": ""}),
            ],
        );
        check(
            &json!({"propertyNames": {"maxLength": 1}, "dependentRequired": {"a": ["b"]},
                "dependentSchemas": {"c": {"required": ["d"]}}}),
            &[json!({"a": 1, "b": 1}), json!({"c": 1, "d": 1}), json!({})],
            &[json!({"aa": 1}), json!({"a": 1}), json!({"c": 1})],
        );
    }

    #[test]
    fn schemas_are_combined_and_refer_to_one_another() {
        let (a, b) = (json!({"type": "integer"}), json!({"minimum": 2}));
        check(&json!({"anyOf": [a, b]}), &[json!(1), json!(2.5), json!("x")], &[json!(1.5)]);
        check(&json!({"oneOf": [a, b]}), &[json!(1), json!(2.5)], &[json!(1.5), json!(3)]);
        check(&json!({"allOf": [a, b]}), &[json!(3)], &[json!(1), json!(2.5)]);
        check(&json!({"not": a}), &[json!("x")], &[json!(1)]);
        check(
            &json!({"if": a, "then": b, "else": {"type": "string"}}),
            &[json!(2), json!("x")],
            &[json!(1), json!(null)],
        );
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties":
            {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["children"]}}});
        check(
            &tree,
            &[json!({"children": [{"children": []}]})],
            &[json!({"children": [{}]}), json!({}), json!([])],
        );
        check(&json!({"items": {"$ref": "#"}, "type": "array"}), &[json!([[], [[]]])], &[json!([[], [1]])]);
        check(&json!({"$ref": "#/$defs/a~1b", "$defs": {"a/b": a}}), &[json!(1)], &[json!("1")]);
    }

    fn check_refused(schema: &str, at: &str) {
        match Schema::read(schema) {
            Ok(_) => panic!("{schema} was taken for a schema"),
            Err(error) => assert_eq!(error.at, at, "{schema}: {error:?}"),
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        check_refused("{", "");
        check_refused("3", "");
        check_refused(r#"{"type":"nonsense"}"#, "/type");
        check_refused(r#"{"properties":{"a/b":{"required":"a"}}}"#, "/properties/a~1b/required");
        check_refused(r#"{"items":[{}]}"#, "/items");
        check_refused(r#"{"anyOf":[{"minLength":-1}]}"#, "/anyOf/0/minLength");
        check_refused(r#"{"anyOf":[]}"#, "/anyOf");
        check_refused(r#"{"multipleOf":0}"#, "/multipleOf");
        check_refused(r#"{"$id":"a","$defs":{"b":{"$id":"c"}}}"#, "/$defs/b/$id");
        check_refused(r#"{"pattern":"("}"#, "/pattern");
        check_refused(r#"{"pattern":"(?=a)"}"#, "/pattern");
        check_refused(r#"{"patternProperties":{"(":true}}"#, "/patternProperties/(");
        check_refused(r#"{"$ref":"https://example.com/a"}"#, "/$ref");
        check_refused(r##"{"$ref":"#/nowhere"}"##, "/$ref");
        check_refused(r##"{"$ref":"#/x","x":{"type":3}}"##, "/x/type");
        check_refused(r#"{"unevaluatedProperties":false}"#, "/unevaluatedProperties");
        check_refused(&format!("{}true{}", "{\"not\":".repeat(500), "}".repeat(500)), "");
    }

    #[test]
    fn no_schema_makes_a_check_go_on_for_ever() {
        let endless = Schema::read(r##"{"$ref":"#"}"##).unwrap();
        assert_eq!(endless.check(&json!(1)).unwrap_err().keyword, "$ref");
        let both =
            r##"{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##;
        assert!(Schema::read(both).unwrap().check(&json!(1)).is_err());
    }

    #[test]
    fn a_mismatch_says_where_it_is() {
        let schema = Schema::read(r#"{"properties":{"a/b":{"items":{"type":"string"}}}}"#).unwrap();
        let mismatch = schema.check(&json!({"a/b": ["x", 1]})).unwrap_err();
        assert_eq!((mismatch.keyword, mismatch.pointer().as_str()), ("type", "/a~1b/1"));
    }

    /// Small values, so that instances and schemas often meet.
    fn any_instance() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            (-3i64..4).prop_map(Value::from),
            (-3i64..4).prop_map(|number| json!(number as f64 / 2.0)),
            "[ab]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab]{1,2}", inner, 0..3).prop_map(|map| json!(map)),
            ]
        })
    }

    fn any_schema() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            prop::sample::select(vec!["null", "object", "array", "number", "integer", "string"])
                .prop_map(|name| json!({ "type": name })),
            any_instance().prop_map(|value| json!({ "const": value })),
            prop::collection::vec(any_instance(), 1..4).prop_map(|values| json!({ "enum": values })),
            (-2i64..3, 0u64..3)
                .prop_map(|(least, most)| json!({"minimum": least, "maxLength": most, "minItems": most})),
            prop::sample::select(vec!["^a", "b$", "^[ab]+$"])
                .prop_map(|pattern| json!({ "pattern": pattern })),
            prop::sample::subsequence(vec!["a", "b", "ab"], 0..3)
                .prop_map(|names| json!({ "required": names })),
            (1u64..3)
                .prop_map(|most| json!({"maxProperties": most, "uniqueItems": true, "multipleOf": most})),
        ];
        leaf.prop_recursive(3, 24, 3, |inner| {
            let some = || prop::collection::vec(inner.clone(), 1..3);
            prop_oneof![
                some().prop_map(|schemas| json!({ "anyOf": schemas })),
                some().prop_map(|schemas| json!({ "oneOf": schemas })),
                some().prop_map(|schemas| json!({ "allOf": schemas })),
                inner.clone().prop_map(|schema| json!({ "not": schema })),
                (inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
                (some(), inner.clone()).prop_map(|(first, rest)| json!({"prefixItems": first, "items": rest})),
                (inner.clone(), 0u64..3).prop_map(|(schema, least)| json!({"contains": schema, "minContains": least})),
                (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, rest)| {
                    json!({"properties": {"a": a}, "patternProperties": {"^b": b}, "additionalProperties": rest})
                }),
                (inner.clone(), inner.clone())
                    .prop_map(|(a, b)| json!({"$defs": {"a": a}, "propertyNames": b, "dependentSchemas": {"a": {"required": ["b"]}}})),
            ]
        })
    }

    proptest! {
        #[test]
        fn we_and_the_library_agree(schema in any_schema(), instances in prop::collection::vec(any_instance(), 8)) {
            let ours = Schema::read(&schema.to_string()).unwrap();
            let theirs = jsonschema::validator_for(&schema).unwrap();
            for instance in instances {
                prop_assert_eq!(ours.check(&instance).is_ok(), theirs.is_valid(&instance), "{} in {}", instance, schema);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}\\[\\]\",:a$#/01]{0,40}") {
            let _schema = Schema::read(&text);
        }
    }

    #[test]
    fn what_a_schema_costs_is_bounded() {
        // Each of the patterns is small to write and large when it is compiled.
        let one = json!({"properties": {"a": {"pattern": "(?:a{300}){300}"}}});
        assert_eq!(Schema::read(&one.to_string()).unwrap_err().at, "/properties/a/pattern");
        let many: serde_json::Map<String, Value> =
            (0..65).map(|number| (format!("p{number}"), json!({"pattern": format!("a{number}")}))).collect();
        let error = Schema::read(&json!({"properties": many}).to_string()).unwrap_err();
        assert!(error.reason.contains("more than 64 patterns"), "{error:?}");
        // Alternatives of alternatives, each with a list to compare with: a billion comparisons, if nobody counted.
        let mut defs = serde_json::Map::new();
        for level in 0..17 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            defs.insert(format!("d{level}"), json!({"anyOf": [next, next]}));
        }
        defs.insert("d17".to_owned(), json!({"enum": vec![0; 10_000]}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": defs}).to_string();
        assert!(Schema::read(&schema).unwrap().check(&json!(1)).is_err());
    }
}
