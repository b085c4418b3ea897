//! Whatever is done to a file, it gives a document or an error: never a panic, and never more than its bounds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use support::{Pdf, docx, helvetica, page, paragraph, zip};
use waggle_documents::{Bounds, ChunkRules, Hints, chunk, extract};

const NAMES: [&str; 9] = ["a.pdf", "a.docx", "a.html", "a.md", "a.csv", "a.json", "a.jsonl", "a.txt", "a"];

fn bounds() -> Bounds {
    Bounds {
        bytes_max: 1 << 20,
        text_bytes_max: 64 << 10,
        pages_max: 100,
        blocks_max: 1_000,
        uncompressed_bytes_max: 1 << 20,
    }
}

fn a_pdf() -> Pdf {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let content = page(&[
        ("F2", 20, 72, 750, "Returns"),
        ("F1", 11, 72, 720, "Within seven days."),
        ("F1", 11, 72, 700, "1. x"),
    ]);
    pdf.pages(
        &[content.clone(), format!("{content} [(a)-300(b)] TJ /Span <</ActualText (x)>> BDC EMC q Q Do")],
        &resources,
    );
    pdf
}

/// Valid files of all kinds.
fn samples() -> Vec<(Vec<u8>, &'static str)> {
    let pdf = a_pdf();
    let root = 8;
    let document = b"<w:document><w:body><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a &amp; b</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>";
    vec![
        (pdf.with_table(root, "/Info<</Title(x)>>"), "a.pdf"),
        (pdf.with_streams(root), "a.pdf"),
        (docx(&(paragraph("berschrift1", "Returns") + &paragraph("", "Within seven days."))), "a.docx"),
        (zip(&[("word/document.xml", document, false)]), "a.docx"),
        (b"<html><head><title>t</title></head><body><ul><li>a<li>b</ul><table><tr><th>x<td>y</table><pre>z".to_vec(), "a.html"),
        (b"---\ntitle: x\n---\n# a\n\n- b\n  1. c\n\n| d | e |\n|---|---|\n| f | g |\n\n```\nh\n```\n[i][j] <b>k</b>\n".to_vec(), "a.md"),
        ("问题,答案\n\"怎么,退货\",\"七天\"\"内\"\n".as_bytes().to_vec(), "a.csv"),
        (b"[{\"question\": \"a\", \"answer\": {\"b\": [1, 2.5, null]}}]".to_vec(), "a.json"),
        ("第一章 总则\n本规定。\n\n1.2 Title\n\n- a\n- b\n".as_bytes().to_vec(), "a.txt"),
    ]
}

/// Reads a file, holds what comes of it to the bounds, and parts it.
fn read(bytes: &[u8], name: &str) -> bool {
    let Ok(document) = extract(bytes, name, &Hints::default(), &bounds()) else { return false };
    let text = document.text();
    assert!(!document.blocks.is_empty() && document.blocks.len() <= bounds().blocks_max);
    assert!(text.len() <= bounds().text_bytes_max);
    for block in &document.blocks {
        assert!(text[block.offset..].starts_with(&block.text) && !block.text.is_empty());
    }
    let rules = ChunkRules { tokens_max: 16, overlap_tokens: 8, ..ChunkRules::default() };
    let count = |texts: &[&str]| texts.iter().map(|text| text.chars().count() as u32).collect();
    assert!(!chunk(&document, &rules, &count).unwrap().is_empty());
    true
}

#[test]
fn the_samples_are_whole() {
    for (bytes, name) in samples() {
        assert!(read(&bytes, name), "{name} {:?}", extract(&bytes, name, &Hints::default(), &bounds()));
    }
}

/// Numbers that follow each other without a pattern (xorshift), the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Changes a few bytes: others, gone, doubled, or words that readers look for.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const WORDS: [&[u8]; 16] = [
        b"endstream",
        b"stream\n",
        b" 0 R",
        b"<<",
        b">>",
        b"[",
        b"]",
        b"(",
        b"/Kids",
        b"99999999999",
        b"-1",
        b"\xff\xff\xff\xff",
        b"obj",
        b"</",
        b"\0",
        b"/Length 9999",
    ];
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(bytes.len());
        let length = numbers.next(20).min(bytes.len() - at);
        match numbers.next(6) {
            0 => bytes[at] = numbers.next(256) as u8,
            1 => bytes[at] ^= 1 << numbers.next(8),
            2 => {
                bytes.drain(at..at + length);
            }
            3 => {
                let copy = bytes[at..at + length].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let word = WORDS[numbers.next(WORDS.len())];
                bytes.splice(at..at + length, word.iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
}

/// `WAGGLE_MUTATIONS` makes more of them.
#[test]
fn a_damaged_file_is_read_or_refused() {
    let rounds =
        std::env::var("WAGGLE_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3_000);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let samples = samples();
    for _ in 0..rounds {
        for (bytes, name) in &samples {
            let mut bytes = bytes.clone();
            mutate(&mut bytes, &mut numbers);
            let name = if numbers.next(10) == 0 { NAMES[numbers.next(NAMES.len())] } else { name };
            read(&bytes, name);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000), name in prop::sample::select(NAMES.to_vec())) {
        read(&bytes, name);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,500}", name in prop::sample::select(NAMES[2..].to_vec())) {
        read(text.as_bytes(), name);
    }

    #[test]
    fn any_content_of_a_page_is_read(content in "[a-zA-Z0-9 /()<>\\[\\]'\"*.%\n-]{0,400}") {
        let mut pdf = Pdf::default();
        let resources = helvetica(&mut pdf);
        let content = format!("BT /F1 12 Tf {content} (end) Tj ET");
        let root = pdf.pages(&[content], &resources);
        read(&pdf.with_table(root, ""), "a.pdf");
    }

    #[test]
    fn any_markup_is_read(text in "(<(/?(p|li|ul|table|tr|td|h1|pre|nav|script|title|main|div hidden)|!--|br/)>|[a-z &;<\n]{0,8}){0,60}") {
        read(format!("<html>{text}").as_bytes(), "a.html");
    }
}
