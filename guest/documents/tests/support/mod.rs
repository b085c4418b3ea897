//! Writes the files that tests read: PDFs, DOCXs and ZIP archives, whole and with faults.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::allow_attributes, reason = "each test program uses another part of this")]
#![allow(dead_code, reason = "each test program uses another part of this")]

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

/// A PDF that is being written. Objects are numbered from 1.
#[derive(Default)]
pub(crate) struct Pdf {
    objects: Vec<Vec<u8>>,
}

impl Pdf {
    /// Adds an object.
    pub(crate) fn add(&mut self, object: impl AsRef<[u8]>) -> usize {
        self.objects.push(object.as_ref().to_vec());
        self.objects.len()
    }

    /// Sets an object that was added empty.
    pub(crate) fn set(&mut self, number: usize, object: &str) {
        self.objects[number - 1] = object.as_bytes().to_vec();
    }

    /// Adds a stream, deflated.
    pub(crate) fn stream(&mut self, dictionary: &str, data: impl AsRef<[u8]>) -> usize {
        let packed = compress_to_vec_zlib(data.as_ref(), 6);
        let mut object =
            format!("<<{dictionary}/Filter/FlateDecode/Length {}>>\nstream\n", packed.len()).into_bytes();
        object.extend(packed);
        object.extend(b"\nendstream");
        self.add(object)
    }

    /// Adds a page tree of these contents, all with these resources, and a catalog; the catalog's number.
    pub(crate) fn pages(&mut self, contents: &[String], resources: &str) -> usize {
        let tree = self.add("");
        let mut kids = String::new();
        for content in contents {
            let content = self.stream("", content);
            let page = self.add(format!(
                "<</Type/Page/Parent {tree} 0 R/MediaBox[0 0 595 842]/Contents {content} 0 R>>"
            ));
            kids.push_str(&format!("{page} 0 R "));
        }
        let count = contents.len();
        self.set(tree, &format!("<</Type/Pages/Kids[{kids}]/Count {count}/Resources<<{resources}>>>>"));
        self.add(format!("<</Type/Catalog/Pages {tree} 0 R>>"))
    }

    fn body(&self) -> (Vec<u8>, Vec<usize>) {
        let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
        let mut offsets = Vec::new();
        for (object, number) in self.objects.iter().zip(1..) {
            offsets.push(file.len());
            file.extend(format!("{number} 0 obj\n").into_bytes());
            file.extend(object);
            file.extend(b"\nendobj\n");
        }
        (file, offsets)
    }

    /// The file with a table as of PDF 1.0.
    pub(crate) fn with_table(&self, root: usize, trailer: &str) -> Vec<u8> {
        let (mut file, offsets) = self.body();
        let start = file.len();
        file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1).into_bytes());
        for offset in &offsets {
            file.extend(format!("{offset:010} 00000 n \n").into_bytes());
        }
        let size = offsets.len() + 1;
        file.extend(
            format!("trailer\n<</Size {size}/Root {root} 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n")
                .into_bytes(),
        );
        file
    }

    /// The file as of PDF 1.5: what are no streams is in an object stream, the table is a stream.
    pub(crate) fn with_streams(&self, root: usize) -> Vec<u8> {
        let mut file = b"%PDF-1.5\n".to_vec();
        let (mut index, mut inner, mut places) = (String::new(), Vec::new(), vec![(0u8, 0usize, 0usize)]);
        let holder = self.objects.len() + 1;
        for (object, number) in self.objects.iter().zip(1..) {
            if object.ends_with(b"endstream") {
                places.push((1, file.len(), 0));
                file.extend(format!("{number} 0 obj\n").into_bytes());
                file.extend(object);
                file.extend(b"\nendobj\n");
            } else {
                places.push((2, holder, index.matches('\n').count()));
                index.push_str(&format!("{number} {}\n", inner.len()));
                inner.extend(object);
                inner.push(b' ');
            }
        }
        let (count, first) = (index.matches('\n').count(), index.len());
        let data = compress_to_vec_zlib(&[index.into_bytes(), inner].concat(), 6);
        places.push((1, file.len(), 0));
        file.extend(
            format!("{holder} 0 obj\n<</Type/ObjStm/N {count}/First {first}/Filter/FlateDecode/Length {}>>stream\r\n", data.len())
                .into_bytes(),
        );
        file.extend(data);
        file.extend(b"\nendstream\nendobj\n");
        let start = file.len();
        places.push((1, start, 0));
        let mut rows = Vec::new();
        for (kind, second, third) in &places {
            // The predictor of PNG that nearly all producers use: each row is told by the one above, here by none.
            rows.extend([0, *kind]);
            rows.extend(&(*second as u32).to_be_bytes());
            rows.extend(&(*third as u16).to_be_bytes());
        }
        let rows = compress_to_vec_zlib(&rows, 6);
        let (number, size) = (holder + 1, places.len());
        file.extend(
            format!(
                "{number} 0 obj\n<</Type/XRef/Size {size}/W[1 4 2]/Root {root} 0 R/Filter/FlateDecode\
                 /DecodeParms<</Predictor 12/Columns 7>>/Length {}>>stream\n",
                rows.len()
            )
            .into_bytes(),
        );
        file.extend(rows);
        file.extend(format!("\nendstream\nendobj\nstartxref\n{start}\n%%EOF").into_bytes());
        file
    }
}

/// Resources with Helvetica as `/F1` and its bold as `/F2`.
pub(crate) fn helvetica(pdf: &mut Pdf) -> String {
    let font = |name: &str| format!("<</Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding>>");
    let (regular, bold) = (pdf.add(font("Helvetica")), pdf.add(font("Helvetica-Bold")));
    format!("/Font<</F1 {regular} 0 R/F2 {bold} 0 R>>")
}

/// Text of a page: lines of `(font, size, x, y, text)`.
pub(crate) fn page(lines: &[(&str, u32, u32, u32, &str)]) -> String {
    let line = |(font, size, x, y, text): &(&str, u32, u32, u32, &str)| {
        let text = text.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
        format!("BT /{font} {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n")
    };
    lines.iter().map(line).collect()
}

/// A PDF of so many pages, each with a sentence of its own.
pub(crate) fn pdf_of_pages(count: usize) -> Vec<u8> {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let content =
        |number: usize| page(&[("F1", 12, 72, 700, &format!("Sentence of page {number}, and of no other."))]);
    let contents: Vec<String> = (1..=count).map(content).collect();
    let root = pdf.pages(&contents, &resources);
    pdf.with_table(root, "")
}

/// A file in an archive: its name, its content, whether it is deflated.
pub(crate) type Entry<'a> = (&'a str, &'a [u8], bool);

/// A ZIP archive.
pub(crate) fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    zip_with(entries, 0)
}

/// A ZIP archive whose entries have these flags.
pub(crate) fn zip_with(entries: &[Entry<'_>], flags: u16) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content, is_deflated) in entries {
        let packed = if *is_deflated { compress_to_vec(content, 6) } else { content.to_vec() };
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(flags.to_le_bytes());
        common.extend((if *is_deflated { 8u16 } else { 0 }).to_le_bytes());
        common.extend([0; 8]);
        common.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        common.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend(0u16.to_le_bytes());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(u32::try_from(file.len()).unwrap().to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(packed);
    }
    let (start, count) = (file.len() as u32, entries.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// Word's styles for headings, as a German Word writes them: translated ids, English names.
const STYLES: &str = r#"<?xml version="1.0" encoding="UTF-8"?><w:styles xmlns:w="x">
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/><w:basedOn w:val="berschrift1"/></w:style>
</w:styles>"#;

/// A Word document with this body.
pub(crate) fn docx(body: &str) -> Vec<u8> {
    let document = format!(
        r#"<?xml version="1.0"?><w:document xmlns:w="x"><w:body>{body}<w:sectPr/></w:body></w:document>"#
    );
    let core =
        r#"<cp:coreProperties xmlns:dc="y"><dc:title>Terms &amp; conditions</dc:title></cp:coreProperties>"#;
    zip(&[
        ("[Content_Types].xml", b"<Types/>", true),
        ("docProps/core.xml", core.as_bytes(), false),
        ("word/styles.xml", STYLES.as_bytes(), true),
        ("word/document.xml", document.as_bytes(), true),
    ])
}

/// A paragraph of a Word document.
pub(crate) fn paragraph(style: &str, text: &str) -> String {
    let style = if style.is_empty() {
        String::new()
    } else {
        format!(r#"<w:pPr><w:pStyle w:val="{style}"/></w:pPr>"#)
    };
    format!(r#"<w:p>{style}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>"#)
}
