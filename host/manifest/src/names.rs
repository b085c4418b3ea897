//! The rules for names, as Spin has them: component ids, store labels, variables.

/// Checks a variable's name: `lower_snake_case`, each word beginning with a letter.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the name.
pub(crate) fn check_variable_name(name: &str) -> Result<(), String> {
    check_words(name, '_')?;
    if name.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("must be all lower case".to_owned());
    }
    Ok(())
}

/// Checks a component's id: `kebab-case`, each word beginning with a letter and all lower or all upper case.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the name.
pub(crate) fn check_component_id(name: &str) -> Result<(), String> {
    check_words(name, '-')
}

/// Checks a store's label: `kebab-case` or `snake_case`, not both.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the name.
pub(crate) fn check_store_label(name: &str) -> Result<(), String> {
    check_words(name, if name.contains('_') { '_' } else { '-' })
}

fn check_words(name: &str, delimiter: char) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let other = if delimiter == '_' { '-' } else { '_' };
    if name.contains(other) {
        return Err(format!("must separate words with `{delimiter}`, not `{other}`"));
    }
    name.split(delimiter).try_for_each(|word| check_word(word, delimiter))
}

fn check_word(word: &str, delimiter: char) -> Result<(), String> {
    let Some(first) = word.chars().next() else {
        return Err(format!("must have a word on both sides of each `{delimiter}`"));
    };
    if !first.is_ascii_alphabetic() {
        return Err(format!("must begin each word with a letter from a to z, not `{first}`"));
    }
    if let Some(wrong) = word.chars().find(|c| !c.is_ascii_alphanumeric()) {
        return Err(format!("may hold only letters a to z, digits and `{delimiter}`, not `{wrong}`"));
    }
    let is_upper = first.is_ascii_uppercase();
    if word.chars().any(|c| c.is_ascii_alphabetic() && c.is_ascii_uppercase() != is_upper) {
        return Err(format!("must not mix upper and lower case in `{word}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_spins_rules() {
        let check = |rule: fn(&str) -> Result<(), String>, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|name| assert_eq!(rule(name), Ok(()), "{name}"));
            bad.iter().for_each(|name| assert!(rule(name).is_err(), "{name}"));
        };
        let bad = ["", "1a", "a__b", "a--b", "a b", "ä", "a-", "_a", "aB", "a.b"];
        check(check_variable_name, &["a", "a1", "api_key"], &bad);
        check(check_variable_name, &[], &["A", "API_KEY", "a-b", "a_1"]);
        check(check_component_id, &["a", "chat-v2", "A-b", "CHAT"], &bad);
        check(check_component_id, &[], &["a_b", "chat-2"]);
        check(check_store_label, &["default", "my-store", "my_store"], &bad);
        check(check_store_label, &[], &["my-big_store"]);
    }
}
