//! The arguments of a call, as a model wrote them: whether they are fit to be looked at, and one form for all that mean the
//! same.

use serde_json::Value;

/// The longest arguments of a call, in bytes.
pub const BYTES_MAX: usize = 64 << 10;
/// How deep they may be nested.
pub const DEPTH_MAX: usize = 32;

/// Why arguments are not looked at. The text is for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// They are too long.
    #[error("The call was not made: its arguments have more than {BYTES_MAX} bytes.")]
    TooLong,
    /// They are nested too deep.
    #[error("The call was not made: its arguments are nested more than {DEPTH_MAX} deep.")]
    TooDeep,
}

/// Holds arguments to their bounds, before anything reads them. Whether they are JSON, and as the tool wants it, is for
/// whoever calls it.
///
/// # Errors
/// What is wrong with them.
pub fn check(arguments: &str) -> Result<(), ArgumentsError> {
    if arguments.len() > BYTES_MAX {
        return Err(ArgumentsError::TooLong);
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in arguments.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ArgumentsError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// One form for all texts that mean the same JSON: without white space, members in the order of their names. What is no
/// JSON is the text itself, without the white space around it; and no arguments are an empty object.
pub fn normalised(arguments: &str) -> String {
    let trimmed = arguments.trim();
    if trimmed.is_empty() {
        return "{}".to_owned();
    }
    match check(trimmed).ok().and_then(|()| serde_json::from_str::<Value>(trimmed).ok()) {
        Some(value) => {
            let mut out = String::with_capacity(trimmed.len());
            write(&value, &mut out);
            out
        }
        None => trimmed.to_owned(),
    }
}

/// Whatever was read is nested no deeper than [`DEPTH_MAX`], and neither is this.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            // Sorted here: whether the map is depends on features that any crate may turn on.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_long_or_too_deep_is_not_looked_at() {
        let deep = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2));
        for (arguments, expected) in [
            (String::new(), Ok(())),
            ("x".repeat(BYTES_MAX), Ok(())),
            ("x".repeat(BYTES_MAX + 1), Err(ArgumentsError::TooLong)),
            (deep(DEPTH_MAX), Ok(())),
            (deep(DEPTH_MAX + 2), Err(ArgumentsError::TooDeep)),
            ("[".repeat(50_000), Err(ArgumentsError::TooDeep)),
            (format!("\"{}\"", "[".repeat(100)), Ok(())),
            (format!("\"\\\"{}\"", "[".repeat(100)), Ok(())),
            (format!("\"\\\\\"{}", "[".repeat(100)), Err(ArgumentsError::TooDeep)),
            ("]".repeat(100), Ok(())),
        ] {
            assert_eq!(check(&arguments), expected, "{}", arguments.get(..20).unwrap_or(&arguments));
        }
    }

    #[test]
    fn what_means_the_same_has_one_form() {
        for (arguments, expected) in [
            ("", "{}"),
            (" { } ", "{}"),
            (r#"{"b": 1, "a": [ true, null ]}"#, r#"{"a":[true,null],"b":1}"#),
            (r#"{"a":{"d":"\u00e9","c":"x"}}"#, r#"{"a":{"c":"x","d":"é"}}"#),
            (" {broken ", "{broken"),
        ] {
            assert_eq!(normalised(arguments), expected, "{arguments}");
        }
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(arguments in ".{0,200}") {
            let once = normalised(&arguments);
            prop_assert_eq!(normalised(&once), once);
        }
    }
}
