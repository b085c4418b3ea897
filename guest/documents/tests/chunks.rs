//! Chunks hold to their bounds, stand where they say, and together are the document.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use waggle_documents::{Bounds, Chunk, ChunkRules, Document, Hints, chunk, extract};

/// A token is a word, or an ideograph.
fn count(texts: &[&str]) -> Vec<u32> {
    let tokens = |text: &&str| {
        let ideographs = text.chars().filter(|character| *character > '\u{2e80}').count();
        (text.split_whitespace().count() + ideographs) as u32
    };
    texts.iter().map(tokens).collect()
}

fn read(text: &str, name: &str) -> Document {
    extract(text.as_bytes(), name, &Hints::default(), &Bounds::default()).unwrap()
}

fn rules(tokens_max: u32, overlap_tokens: u32) -> ChunkRules {
    ChunkRules { tokens_max, overlap_tokens, section_tokens_min: 4, ..ChunkRules::default() }
}

fn chunks(text: &str, name: &str, rules: &ChunkRules) -> Vec<Chunk> {
    chunk(&read(text, name), rules, &count).unwrap()
}

fn told(chunks: &[Chunk]) -> Vec<String> {
    chunks.iter().map(|chunk| format!("[{}] {}", chunk.heading, chunk.text)).collect()
}

#[test]
fn sections_are_chunks_that_know_their_headings() {
    let text = "# Shop\n\n## Returns\n\nGoods may be sent back within seven days.\n\n## Costs\n\n### Small\n\nIt is two euros for small parcels.\n\n### Large\n\nIt is nine euros for large parcels.\n";
    let expected = [
        "[Shop > Returns] Goods may be sent back within seven days.",
        "[Shop > Costs > Small] It is two euros for small parcels.",
        "[Shop > Costs > Large] It is nine euros for large parcels.",
    ];
    assert_eq!(told(&chunks(text, "a.md", &rules(40, 0))), expected);
}

#[test]
fn tiny_sections_are_joined_below_the_heading_that_they_share() {
    let text = "# Shop\n\n## A\n\nOne.\n\n## B\n\nTwo.\n\n# Other\n\nThree.\n";
    let expected = ["[Shop] A\n\nOne.\n\nB\n\nTwo.", "[Other] Three."];
    assert_eq!(told(&chunks(text, "a.md", &rules(40, 0))), expected);
}

#[test]
fn running_text_is_parted_at_sentences_which_neighbours_share() {
    let sentence = |number: usize| format!("This is the sentence with the number {number} of all of them.");
    let text: Vec<String> = (0..6).map(sentence).collect();
    let found = chunks(&text.join(" "), "a.txt", &rules(40, 14));
    let expected = [text[0..3].join(" "), text[2..5].join(" "), text[4..6].join(" ")];
    assert_eq!(found.iter().map(|chunk| chunk.text.clone()).collect::<Vec<_>>(), expected);
    let chinese = "这是第一句话。这是第二句话，它比较长。这是第三句话！这是第四句话？这是第五句话。这是第六句话，它也比较长，这是它的后一半。";
    for chunk in chunks(chinese, "a.txt", &rules(40, 10)) {
        assert!(chunk.text.ends_with(['。', '！', '？']), "{}", chunk.text);
        assert!(chunk.tokens <= 40);
    }
}

#[test]
fn a_long_table_has_its_header_in_each_chunk() {
    let rows: String = (0..30)
        .map(|row| format!("| product number {row} | it costs {row} euros and not more |\n"))
        .collect();
    let text = format!("Prices:\n\n| Product | Price |\n|---|---|\n{rows}");
    let found = chunks(&text, "a.md", &rules(60, 30));
    assert!(found.len() > 4);
    for chunk in &found[1..] {
        assert!(chunk.text.starts_with("Product | Price\nproduct number"), "{}", chunk.text);
        assert!(chunk.text.ends_with("not more") && chunk.tokens <= 60);
    }
    let all: Vec<&str> = found
        .iter()
        .flat_map(|chunk| chunk.text.lines())
        .filter(|line| line.starts_with("product"))
        .collect();
    assert_eq!(all.len(), 30, "rows are in one chunk each");
}

#[test]
fn a_table_that_fits_is_kept_whole() {
    let words = "word ".repeat(30);
    let text = format!("{words}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n");
    let found = chunks(&text, "a.md", &rules(40, 0));
    assert_eq!(found.iter().map(|chunk| chunk.text.lines().count()).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn each_question_is_a_chunk_and_stays_with_its_answer() {
    let long: String =
        (0..40).map(|number| format!("Answer part {number} is this sentence of it. ")).collect();
    let text = format!("question,answer\nWhy?,Because.\nHow long is it?,\"{long}\"\nWho?,You.\n");
    let found = chunks(&text, "a.csv", &rules(80, 40));
    assert_eq!(found[0].text, "Why?\nBecause.");
    assert_eq!(found.last().unwrap().text, "Who?\nYou.");
    assert!(found.len() > 5);
    for chunk in &found[1..found.len() - 1] {
        assert!(chunk.text.starts_with("How long is it?\n") && chunk.tokens <= 80, "{}", chunk.text);
    }
}

#[test]
fn a_changed_section_changes_only_its_own_chunks() {
    let section = |number: usize, text: &str| format!("## Part {number}\n\n{text}\n\n");
    let old: String =
        (0..9).map(|number| section(number, "It says what it has always said about this.")).collect();
    let new = old.replacen("Part 4\n\nIt says", "Part 4\n\nIt no longer says", 1);
    let hashes = |text: &str| {
        chunks(text, "a.md", &rules(40, 20)).into_iter().map(|chunk| chunk.hash).collect::<Vec<_>>()
    };
    let (old, new) = (hashes(&old), hashes(&new));
    assert_eq!(old.len(), 9);
    assert_eq!(old.iter().zip(&new).filter(|(old, new)| old != new).count(), 1);
}

#[test]
fn a_document_of_headings_alone_is_its_headings() {
    assert_eq!(told(&chunks("# A\n\n## B\n\n## C\n", "a.md", &rules(40, 0))), ["[] A\n\nB\n\nC"]);
}

#[test]
fn more_chunks_than_the_rules_allow_are_refused() {
    let text = "question,answer\nWhy?,Because.\nWho?,You.\n";
    let rules = ChunkRules { chunks_max: 1, ..ChunkRules::default() };
    let error = chunk(&read(text, "a.csv"), &rules, &count).unwrap_err();
    assert_eq!(error.code(), "file_too_large");
}

#[test]
fn a_counter_that_gives_nothing_makes_chunks_all_the_same() {
    let document = read(&"some words. ".repeat(500), "a.txt");
    let found = chunk(&document, &rules(40, 0), &|_| Vec::new()).unwrap();
    assert!(found.len() > 10);
}

/// Each character of the document that is not white space is in a chunk, or in the headings of one.
fn check_coverage(document: &Document, chunks: &[Chunk]) {
    let text = document.text();
    let mut covered = vec![false; text.len()];
    for chunk in chunks {
        covered[chunk.bytes.clone()].fill(true);
    }
    for block in &document.blocks {
        let end = block.offset + block.text.len();
        let is_missing =
            |(at, character): (usize, char)| !character.is_whitespace() && !covered[block.offset + at];
        if block.text.char_indices().any(is_missing) {
            let is_heading = matches!(block.kind, waggle_documents::BlockKind::Heading { .. });
            let is_told =
                chunks.iter().any(|chunk| chunk.heading.split(" > ").any(|heading| heading == block.text));
            assert!(is_heading && is_told, "{:?} {}..{end} is in no chunk", block.kind, block.offset);
        }
    }
}

fn check_chunks(document: &Document, chunks: &[Chunk], rules: &ChunkRules) {
    let text = document.text();
    for (chunk, ordinal) in chunks.iter().zip(0..) {
        let slice = &text[chunk.bytes.clone()];
        assert_eq!(chunk.ordinal, ordinal);
        assert!(chunk.text.ends_with(slice) && !slice.trim().is_empty());
        assert_eq!(chunk.tokens, count(&[&chunk.text])[0]);
        assert!(chunk.tokens <= rules.tokens_max.max(16), "{} tokens: {}", chunk.tokens, chunk.text);
        assert!(chunk.text.len() <= rules.text_bytes_max && chunk.heading.len() <= rules.heading_bytes_max);
        assert_eq!(text[..chunk.bytes.start].chars().count(), chunk.characters.start);
        assert_eq!(slice.chars().count(), chunk.characters.len());
    }
    assert!(
        chunks
            .windows(2)
            .all(|pair| pair[0].bytes.start < pair[1].bytes.end && pair[0].bytes.end < pair[1].bytes.end)
    );
    check_coverage(document, chunks);
}

fn block() -> impl Strategy<Value = String> {
    prop_oneof![
        "#{1,4} [a-z]{1,12}( [a-z]{1,8}){0,3}",
        "([A-Z][a-z]{0,10}( [a-z,]{1,9}){0,12}[.!?] ?){1,12}",
        "([一二三四五六七八九十]{1,30}[。！？，]){1,12}",
        "(- [a-z ]{1,30}[a-z]\n){1,8}",
        "\\| a \\| b \\|\n\\|---\\|---\\|\n(\\| [a-z]{1,9} \\| [a-z]{1,9} [a-z]{1,9} \\|\n){1,20}",
        "```\n([a-z(){};]{1,20}( [a-z]{1,5}){0,5}\n\n?){1,15}```",
        "[a-z]{300}",
    ]
}

proptest! {
    #[test]
    fn any_document_is_all_in_its_chunks(
        blocks in prop::collection::vec(block(), 1..25),
        tokens_max in 16u32..80,
        overlap_tokens in 0u32..60,
        section_tokens_min in 0u32..30,
    ) {
        let document = read(&blocks.join("\n\n"), "a.md");
        let rules = ChunkRules { tokens_max, overlap_tokens, section_tokens_min, text_bytes_max: 400, ..ChunkRules::default() };
        let chunks = chunk(&document, &rules, &count).unwrap();
        check_chunks(&document, &chunks, &rules);
    }

    #[test]
    fn any_table_of_questions_is_all_in_its_chunks(
        rows in prop::collection::vec(("[a-z]{1,8}( [a-z]{1,8}){0,10}", "([A-Z][a-z]{1,8}( [a-z]{1,8}){0,10}\\. ){1,8}"), 1..20),
        tokens_max in 16u32..60,
    ) {
        let rows: Vec<String> = rows.iter().map(|(question, answer)| format!("{question},\"{answer}\"")).collect();
        let document = read(&format!("q,a\n{}", rows.join("\n")), "a.csv");
        let rules = ChunkRules { tokens_max, ..ChunkRules::default() };
        let chunks = chunk(&document, &rules, &count).unwrap();
        check_chunks(&document, &chunks, &rules);
    }
}
