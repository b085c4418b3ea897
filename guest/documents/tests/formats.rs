//! Real files give their text by blocks, whatever program wrote them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Pdf, docx, helvetica, page, paragraph, pdf_of_pages};
use waggle_documents::{Bounds, Document, Hints, Kind, extract};

fn read(bytes: &[u8], name: &str) -> Document {
    extract(bytes, name, &Hints::default(), &Bounds::default()).unwrap()
}

/// The blocks as `kind text`.
fn texts(document: &Document) -> Vec<String> {
    document.blocks.iter().map(|block| format!("{:?} {}", block.kind, block.text)).collect()
}

/// A document of two pages as a program would set it.
fn guide() -> (Pdf, usize) {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let first = page(&[
        ("F1", 8, 72, 800, "Shop guide, page 1"),
        ("F2", 20, 72, 750, "Returns"),
        ("F1", 11, 72, 720, "Goods may be sent back within seven days of their ar-"),
        ("F1", 11, 72, 706, "rival. The buyer pays for the way back (see below)."),
        ("F1", 11, 72, 680, "A second paragraph stands farther below."),
        ("F2", 14, 72, 650, "Costs"),
        ("F1", 11, 72, 630, "\u{2d} small parcels"),
        ("F1", 11, 72, 616, "\u{2d} large parcels"),
        ("F1", 11, 72, 590, "This sentence goes on"),
    ]);
    let mut pages = vec![first];
    for number in 2..=4 {
        let header = format!("Shop guide, page {number}");
        let rest = if number == 2 { "on the next page." } else { "More text." };
        pages.push(page(&[("F1", 8, 72, 800, &header), ("F1", 11, 72, 720, rest)]));
    }
    let root = pdf.pages(&pages, &resources);
    (pdf, root)
}

const GUIDE: [&str; 8] = [
    "Heading { level: 1 } Returns",
    "Paragraph Goods may be sent back within seven days of their arrival. The buyer pays for the way back (see below).",
    "Paragraph A second paragraph stands farther below.",
    "Heading { level: 2 } Costs",
    "List - small parcels\n- large parcels",
    "Paragraph This sentence goes on on the next page.",
    "Paragraph More text.",
    "Paragraph More text.",
];

#[test]
fn a_pdf_is_read_by_how_it_is_set() {
    let (pdf, root) = guide();
    let document = read(&pdf.with_table(root, ""), "guide.pdf");
    assert_eq!(document.kind, Kind::Pdf);
    assert_eq!((document.title.as_str(), document.pages), ("Returns", Some(4)));
    assert_eq!(texts(&document), GUIDE);
    let pages: Vec<Option<u32>> = document.blocks.iter().map(|block| block.page).collect();
    assert_eq!(pages, [Some(1), Some(1), Some(1), Some(1), Some(1), Some(1), Some(3), Some(4)]);
}

#[test]
fn a_pdf_of_object_streams_says_the_same() {
    let (pdf, root) = guide();
    assert_eq!(texts(&read(&pdf.with_streams(root), "guide.pdf")), GUIDE);
}

#[test]
fn a_pdf_whose_tables_are_wrong_is_read_by_its_objects() {
    let (pdf, root) = guide();
    let whole = pdf.with_table(root, "");
    let table = whole.windows(4).rposition(|window| window == b"xref").unwrap();
    let start = whole.windows(5).position(|window| window == b"xref\n").unwrap();
    assert!(table > start);
    let mut shifted = b"%PDF-1.7\n% a line more than the offsets know of\n".to_vec();
    shifted.extend(&whole[9..]);
    for (damaged, what) in [
        (whole[..start].to_vec(), "without a table"),
        (shifted, "with offsets that are off"),
        (whole[..whole.len() - 30].to_vec(), "cut off"),
        ([b"mail header\n".as_slice(), &whole].concat(), "with something before it"),
    ] {
        assert_eq!(texts(&read(&damaged, "guide.pdf")), GUIDE, "{what}");
    }
    let streams = pdf.with_streams(root);
    let end = streams.windows(9).rposition(|window| window == b"startxref").unwrap();
    assert_eq!(texts(&read(&streams[..end], "guide.pdf")), GUIDE);
}

/// A page of Chinese in a font whose codes are glyphs, with a table of what they stand for.
#[test]
fn chinese_is_read_by_the_table_of_its_font() {
    let mut pdf = Pdf::default();
    let text = "七天无理由退货";
    let rows: String =
        text.chars().zip(1..).map(|(c, code)| format!("<{code:04X}> <{:04X}>\n", c as u32)).collect();
    let cmap = pdf.stream(
        "",
        format!(
            "begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange 7 beginbfchar {rows} endbfchar"
        ),
    );
    let inner = pdf.add("<</Type/Font/Subtype/CIDFontType2/DW 1000>>");
    let font = pdf.add(format!(
        "<</Type/Font/Subtype/Type0/Encoding/Identity-H/DescendantFonts[{inner} 0 R]/ToUnicode {cmap} 0 R>>"
    ));
    let known = pdf.add("<</Type/Font/Subtype/Type0/Encoding/GBK-EUC-H/DescendantFonts[]>>");
    let contents = "BT /F 12 Tf 72 700 Td <0001000200030004> Tj 48 0 Td <000500060007> Tj \
                    /G 12 Tf -48 -15 Td <D6D0CEC4> Tj ET";
    let root = pdf.pages(&[contents.to_owned()], &format!("/Font<</F {font} 0 R/G {known} 0 R>>"));
    assert_eq!(texts(&read(&pdf.with_table(root, ""), "a.pdf")), ["Paragraph 七天无理由退货中文"]);
}

#[test]
fn words_are_parted_by_gaps_and_ligatures_are_letters() {
    let mut pdf = Pdf::default();
    let font = pdf.add("<</Type/Font/Subtype/Type1/BaseFont/X/Encoding<</Differences[1/f_i/ffl 65/A]>>>>");
    let inner = pdf.stream("/Type/XObject/Subtype/Form", "BT /F 10 Tf 72 600 Td (in a form) Tj ET");
    let contents = "BT /F 10 Tf 72 700 Td [(Of)-20(\\001ce)-300(hours)] TJ 0 -12 Td \
                    /Span <</ActualText (read as this)>> BDC (xxxx) Tj (yyyy) Tj EMC ET \
                    BI /W 1 /H 1 ID \x01(\x02 EI /X Do";
    let resources = format!("/Font<</F {font} 0 R>>/XObject<</X {inner} 0 R>>");
    let root = pdf.pages(&[contents.to_owned()], &resources);
    let document = read(&pdf.with_table(root, "/Info<</Title(\\376\\377\\0O\\0n\\0e)>>"), "a.pdf");
    assert_eq!(document.title, "One");
    assert_eq!(texts(&document), ["Paragraph Office hours read as this", "Paragraph in a form"]);
}

#[test]
fn lines_of_columns_are_a_table() {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let rows = [("Item", "Days"), ("Book", "14"), ("Food", "2")];
    let lines: Vec<(&str, u32, u32, u32, &str)> = rows
        .iter()
        .zip(0..)
        .flat_map(|((one, other), row)| {
            [("F1", 11, 72, 700 - row * 15, *one), ("F1", 11, 300, 700 - row * 15, *other)]
        })
        .collect();
    let root = pdf.pages(&[page(&lines)], &resources);
    assert_eq!(
        texts(&read(&pdf.with_table(root, ""), "a.pdf")),
        ["Table { header: true } Item | Days\nBook | 14\nFood | 2"]
    );
}

#[test]
fn ten_thousand_pages_are_read_page_by_page() {
    let document = read(&pdf_of_pages(10_000), "long.pdf");
    assert_eq!(document.pages, Some(10_000));
    assert_eq!(document.blocks.len(), 10_000);
    let last = document.blocks.last().unwrap();
    assert_eq!((last.text.as_str(), last.page), ("Sentence of page 10000, and of no other.", Some(10_000)));
}

#[test]
fn a_word_document_is_read_by_its_styles() {
    let table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Item</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Days</w:t></w:r></w:p></w:tc></w:tr>\
        <w:tr><w:tc><w:p><w:r><w:t>Book</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>14</w:t></w:r></w:p><w:p><w:r><w:t>or 30</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
    let item = |text: &str, level: u32| {
        format!(
            "<w:p><w:pPr><w:numPr><w:ilvl w:val=\"{level}\"/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let deleted = "<w:p><w:r><w:t>kept </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>\
        <w:r><w:t>&amp; &#x4E2D;</w:t><w:br/><w:t>below</w:t></w:r></w:p>";
    let body = [
        paragraph("berschrift1", "Returns"),
        paragraph("", "Within seven days."),
        paragraph("berschrift2", "How"),
        item("pack", 0),
        item("send", 1),
        table.to_owned(),
        deleted.to_owned(),
    ];
    let document = read(&docx(&body.concat()), "terms.docx");
    assert_eq!((document.title.as_str(), document.kind), ("Terms & conditions", Kind::Docx));
    let expected = [
        "Heading { level: 1 } Returns",
        "Paragraph Within seven days.",
        "Heading { level: 2 } How",
        "List - pack\n  - send",
        "Table { header: true } Item | Days\nBook | 14 or 30",
        "Paragraph kept & 中\nbelow",
    ];
    assert_eq!(texts(&document), expected);
}

#[test]
fn a_file_in_an_old_encoding_is_read_as_what_it_says() {
    let (gbk, _, _) = encoding_rs::GBK.encode("问题,答案\n怎么退货？,七天内可以退货。\n");
    let document = read(&gbk, "常见问题.csv");
    assert_eq!(texts(&document), ["QuestionAnswer 怎么退货？\n七天内可以退货。"]);
    assert_eq!(document.title, "常见问题");
}
