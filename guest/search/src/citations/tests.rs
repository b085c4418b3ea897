//! Tests of citations.

use super::*;
use proptest::prelude::*;

fn files() -> Vec<CitedFile> {
    ["a", "b", "a"]
        .map(|name| CitedFile { file_id: format!("file-{name}"), filename: format!("{name}.md") })
        .to_vec()
}

fn check(text: &str, expected: &str, annotations: &[(&str, usize)]) {
    let cited = cite(files(), text);
    let seen: Vec<(&str, usize)> =
        cited.annotations.iter().map(|one| (one.file_id.trim_start_matches("file-"), one.index)).collect();
    assert_eq!((cited.text.as_str(), seen.as_slice()), (expected, annotations), "{text:?}");
}

#[test]
fn markers_become_annotations() {
    check("It is blue [1].", "It is blue.", &[("a", 10)]);
    check("It is blue[1].", "It is blue.", &[("a", 10)]);
    check("It is blue.[1] And new [2].", "It is blue. And new.", &[("a", 11), ("b", 19)]);
    check("Blue [1] and new.", "Blue and new.", &[("a", 4)]);
    check("Blue [1]", "Blue", &[("a", 4)]);
    check("Blue [1]\nNew", "Blue\nNew", &[("a", 4)]);
    check("是蓝色的[1]。新的【2】。", "是蓝色的。新的。", &[("a", 4), ("b", 7)]);
    check("[1] says so", " says so", &[("a", 0)]);
}

#[test]
fn several_sources_stand_at_one_place() {
    check("Blue [1][2].", "Blue.", &[("a", 4), ("b", 4)]);
    check("Blue [1, 2].", "Blue.", &[("a", 4), ("b", 4)]);
    check("Blue [1] [2] sky", "Blue sky", &[("a", 4), ("b", 4)]);
    check("Blue [1], [2].", "Blue.", &[("a", 4), ("b", 4)]);
    check("Blue [1], new", "Blue, new", &[("a", 4)]);
    check("Blue [1][1].", "Blue.", &[("a", 4)]);
    check("Blue [1][3].", "Blue.", &[("a", 4)]);
}

#[test]
fn numbers_of_no_source_are_taken_out() {
    check("Blue [4].", "Blue.", &[]);
    check("Blue [0] sky", "Blue sky", &[]);
    check("Blue [1][9].", "Blue.", &[("a", 4)]);
}

#[test]
fn what_is_no_marker_stays() {
    for text in [
        "",
        " ",
        "a  b ",
        "[a] [1a] [2024] [ ] [] x",
        "see [1](https://e.x)",
        "`a[1]` and ``b[2] ` c``",
        "```\nlist[1]\n```\n",
        "open [1",
        "open [",
        "two [[x]]",
    ] {
        check(text, text, &[]);
    }
    check("a ` b\n[1]", "a ` b\n", &[("a", 6)]);
    check("[[1]]", "[]", &[("a", 1)]);
}

#[test]
fn what_was_cited_is_known() {
    let mut citations = Citations::new(files());
    let _text = citations.feed("x [2][3][7] y");
    assert_eq!(citations.cited(), [1, 2]);
}

#[test]
fn an_annotation_is_openais() {
    let cited = cite(files(), "x [1]");
    let json = serde_json::to_string(&cited.annotations[0]).unwrap();
    assert_eq!(json, r#"{"type":"file_citation","file_id":"file-a","filename":"a.md","index":1}"#);
}

fn in_pieces(text: &str, cuts: &[usize]) -> Cited {
    let characters: Vec<char> = text.chars().collect();
    let mut citations = Citations::new(files());
    let mut whole = Cited::default();
    let mut add = |cited: Cited| {
        whole.text.push_str(&cited.text);
        whole.annotations.extend(cited.annotations);
    };
    let mut start = 0;
    for cut in cuts {
        let end = (start + cut).min(characters.len());
        add(citations.feed(&characters[start..end].iter().collect::<String>()));
        start = end;
    }
    add(citations.feed(&characters[start..].iter().collect::<String>()));
    add(citations.end());
    whole
}

const TEXT: &str = r"([a-c 。,.`\n]|\[|\]|\(|【|】|†|[0-9]|\[1\]|\[2, 3\]|【1】|`|```){0,60}";

proptest! {
    #[test]
    fn where_a_text_is_cut_makes_no_difference(text in TEXT, cuts in prop::collection::vec(0usize..9, 0..20)) {
        prop_assert_eq!(in_pieces(&text, &cuts), cite(files(), &text));
    }

    #[test]
    fn annotations_stand_within_the_text_in_order(text in TEXT) {
        let cited = cite(files(), &text);
        let length = cited.text.chars().count();
        let places: Vec<usize> = cited.annotations.iter().map(|one| one.index).collect();
        prop_assert!(places.is_sorted() && places.iter().all(|place| *place <= length));
    }

    #[test]
    fn a_text_without_brackets_stays_as_it_is(text in "[^\\[【［]{0,80}") {
        let cited = cite(files(), &text);
        prop_assert_eq!(cited.text, text);
        prop_assert!(cited.annotations.is_empty());
    }

    #[test]
    fn what_is_held_back_is_bounded(text in TEXT, spaces in 0usize..200) {
        let mut citations = Citations::new(files());
        for character in text.chars().chain(" ".repeat(spaces).chars()) {
            citations.feed(&character.to_string());
            let after = citations.after.as_deref().unwrap_or_default();
            prop_assert!(citations.before.len() <= HELD_CHARACTERS_MAX);
            prop_assert!(after.chars().count() <= HELD_CHARACTERS_MAX);
        }
    }
}
