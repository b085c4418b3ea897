//! JSON as bytes: how deep it is, and its one canonical way to be written.

use serde_json::Value;

/// How deep any message may be nested. Parsing goes one call deeper for each level.
pub(crate) const DEPTH_MAX: usize = 64;

/// Whether `text` is nested no deeper than [`DEPTH_MAX`]. Does not tell whether it is JSON.
pub(crate) fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// `value` with the names of its objects in order and nothing between its tokens: the same for two texts that mean the
/// same, but for how a number is written.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let check =
            |text: &str, expected: bool| assert_eq!(is_shallow(text.as_bytes()), expected, "{text:.40}");
        check("{}", true);
        check(&"[".repeat(DEPTH_MAX), true);
        check(&"[".repeat(DEPTH_MAX + 1), false);
        check(&"[]".repeat(DEPTH_MAX + 1), true);
        check(&format!("\"{}\"", "{".repeat(100)), true);
        check(&format!("\"\\\"{}\"", "{".repeat(100)), true);
        check(&format!("\"\\\\\"{}", "{".repeat(100)), false);
    }

    #[test]
    fn the_canonical_text_has_its_names_in_order() {
        let value = json!({"b": [1, {"z": null, "a": "\"\n"}], "a": true, "": 1.5});
        assert_eq!(canonical(&value), r#"{"":1.5,"a":true,"b":[1,{"a":"\"\n","z":null}]}"#);
    }

    proptest! {
        #[test]
        fn the_canonical_text_means_the_same(names in prop::collection::btree_map("[a-zé\"]{0,4}", any::<i64>(), 0..6)) {
            let value = json!({"a": names, "b": [names]});
            let back: Value = serde_json::from_str(&canonical(&value)).unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
