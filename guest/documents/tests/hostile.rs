//! A file that cannot be read fails alone, with the reason, and at no more cost than its bounds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Pdf, docx, helvetica, page, paragraph, pdf_of_pages, zip, zip_with};
use waggle_documents::{Bounds, ExtractError, Hints, extract};

fn refused_within(bytes: &[u8], name: &str, bounds: &Bounds) -> ExtractError {
    extract(bytes, name, &Hints::default(), bounds).unwrap_err()
}

#[track_caller]
fn check(bytes: &[u8], name: &str, code: &str, says: &str) {
    let error = refused_within(bytes, name, &Bounds::default());
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn an_encrypted_file_says_so() {
    let mut pdf = Pdf::default();
    let root = pdf.pages(&[page(&[("F1", 12, 0, 0, "x")])], "");
    check(
        &pdf.with_table(root, "/Encrypt<</Filter/Standard/V 4>>"),
        "a.pdf",
        "encrypted_file",
        "without a password",
    );
    let entries: [support::Entry<'_>; 1] = [("word/document.xml", b"<w:document/>", true)];
    check(&zip_with(&entries, 1), "a.docx", "encrypted_file", "without a password");
}

#[test]
fn a_file_of_another_kind_than_its_name_is_told() {
    check(b"<html><body>Not found</body></html>", "a.pdf", "wrong_type", "an HTML page");
    check(b"plain", "a.docx", "wrong_type", "plain text");
    check(&zip(&[("xl/workbook.xml", b"<x/>", true)]), "a.docx", "unsupported_file", "Excel");
    check(&zip(&[("a.txt", b"x", true)]), "a.docx", "unsupported_file", "ZIP");
}

#[test]
fn a_file_without_text_says_so() {
    let mut pdf = Pdf::default();
    let image = pdf.stream("/Type/XObject/Subtype/Image/Width 1/Height 1", [0]);
    let root = pdf.pages(&["q /I Do Q".to_owned()], &format!("/XObject<</I {image} 0 R>>"));
    check(&pdf.with_table(root, ""), "scan.pdf", "no_text", "OCR");
    check(&docx(""), "a.docx", "no_text", "no text");
    check(b"<html><script>x</script></html>", "a.html", "no_text", "no text");
    check(b"", "a.md", "empty_file", "empty");
}

#[test]
fn a_broken_file_says_where() {
    check(b"%PDF-1.7 and nothing else", "a.pdf", "broken_file", "no pages");
    let whole = docx(&paragraph("", "text"));
    check(&whole[..whole.len() - 40], "a.docx", "broken_file", "cut off");
    check(&docx("<w:p><w:r></w:p>"), "a.docx", "broken_file", "XML");
    check(b"{\"a\": 1}\n{\"a\": \n", "a.jsonl", "broken_file", "line 2");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let body = paragraph("", &"0".repeat(30 << 20));
    check(&docx(&body), "bomb.docx", "file_too_large", "packed more than");
    let several = zip(&[
        ("word/styles.xml", &vec![b' '; 100 << 10], true),
        ("word/document.xml", &vec![b' '; 100 << 10], true),
    ]);
    let bounds = Bounds { uncompressed_bytes_max: 150 << 10, ..Bounds::default() };
    assert_eq!(refused_within(&several, "a.docx", &bounds).code(), "file_too_large");
    let mut pdf = Pdf::default();
    let root = pdf.pages(&["0 ".repeat(20 << 20)], "");
    check(&pdf.with_table(root, ""), "bomb.pdf", "file_too_large", "unpacked");
}

#[test]
fn forms_that_draw_each_other_end() {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let mut inner = pdf.stream("/Subtype/Form", "BT /F1 9 Tf (x) Tj ET");
    for _ in 0..10 {
        let own = format!("/Subtype/Form/Resources<<{resources}/XObject<</X {inner} 0 R>>>>");
        inner = pdf.stream(&own, "/X Do ".repeat(40));
    }
    let root = pdf.pages(&["/X Do ".repeat(40)], &format!("{resources}/XObject<</X {inner} 0 R>>"));
    let bounds = Bounds { text_bytes_max: 100_000, ..Bounds::default() };
    assert_eq!(refused_within(&pdf.with_table(root, ""), "a.pdf", &bounds).code(), "file_too_large");

    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let itself = pdf.add("");
    pdf.set(
        itself,
        &format!(
            "<</Subtype/Form/Resources<</XObject<</X {itself} 0 R>>>>/Length 6>>\nstream\n/X Do \nendstream"
        ),
    );
    let content = format!("/X Do {}", page(&[("F1", 12, 72, 700, "text")]));
    let root = pdf.pages(&[content], &format!("{resources}/XObject<</X {itself} 0 R>>"));
    let document =
        extract(&pdf.with_table(root, ""), "a.pdf", &Hints::default(), &Bounds::default()).unwrap();
    assert_eq!(document.blocks.len(), 1);
}

#[test]
fn objects_that_refer_to_each_other_end() {
    let mut pdf = Pdf::default();
    let tree = pdf.add("");
    pdf.set(tree, &format!("<</Type/Pages/Kids[{tree} 0 R 5 0 R]/Parent {tree} 0 R>>"));
    let root = pdf.add(format!("<</Type/Catalog/Pages {tree} 0 R>>"));
    pdf.add("4 0 R");
    pdf.add("3 0 R");
    pdf.add("<</Type/Page/Contents 6 0 R>>");
    pdf.add("<</Length 6 0 R>>\nstream\nBT ET\nendstream");
    check(&pdf.with_table(root, "/Info 3 0 R"), "a.pdf", "no_text", "no text");
}

#[test]
fn objects_that_begin_inside_of_each_other_are_not_read_again_and_again() {
    let mut file = b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Kids[".to_vec();
    for number in 3..3_000 {
        file.extend(format!("{number} 0 R ").into_bytes());
    }
    file.extend(b"]>>endobj\n");
    for number in 3..3_000 {
        file.extend(format!("{number} 0 obj<</XRef [1 1 1]\n").into_bytes());
    }
    file.extend(b"x ".repeat(50_000));
    check(&file, "a.pdf", "broken_file", "overlap");
}

#[test]
fn what_is_over_a_bound_is_refused_with_the_bound() {
    let pages = pdf_of_pages(11);
    let bounds = Bounds { pages_max: 10, ..Bounds::default() };
    assert!(refused_within(&pages, "a.pdf", &bounds).to_string().contains("more than 10 pages"));
    let bounds = Bounds { bytes_max: 100, ..Bounds::default() };
    assert!(refused_within(&pages, "a.pdf", &bounds).to_string().contains("more than 100 bytes"));
    let bounds = Bounds { text_bytes_max: 100, ..Bounds::default() };
    for (bytes, name) in [
        (pages, "a.pdf"),
        (docx(&paragraph("", &"text ".repeat(30))), "a.docx"),
        (format!("<p>{}", "text ".repeat(30)).into_bytes(), "a.html"),
        ("text ".repeat(30).into_bytes(), "a.md"),
        ("text ".repeat(30).into_bytes(), "a.txt"),
        (format!("[\"{}\"]", "text ".repeat(30)).into_bytes(), "a.json"),
    ] {
        assert_eq!(refused_within(&bytes, name, &bounds).code(), "file_too_large", "{name}");
    }
    let blocks = Bounds { blocks_max: 2, ..Bounds::default() };
    assert_eq!(refused_within(b"a\n\nb\n\nc", "a.txt", &blocks).code(), "file_too_large");
}

#[test]
fn an_archive_of_too_many_parts_is_refused() {
    let mut file = zip(&[("word/document.xml", b"<x/>", false)]);
    let end = file.len() - 22;
    file[end + 10..end + 12].copy_from_slice(&u16::MAX.to_le_bytes());
    check(&file, "a.docx", "file_too_large", "parts");
}
