//! Content streams (ISO 32000, 7.8 and 9): where text is shown, and which.

mod marked;
mod state;

use super::file::File;
use super::font::Font;
use super::lexer::{Lexer, Token};
use super::lines::Lines;
use super::matrix::Matrix;
use super::object::{Dictionary, Object, Stream};
use super::page::Page;
use crate::error::ExtractError;
use marked::Marked;
use state::{Pen, State};
use std::collections::HashMap;
use std::rc::Rc;

/// How many operators a document may have.
const OPERATIONS_MAX: usize = 30_000_000;
/// How many operands an operator may have.
const OPERANDS_MAX: usize = 64;
/// How many states may be saved, and how many forms may be inside of each other.
const STATES_MAX: usize = 256;
const FORMS_MAX: usize = 12;
/// How many bytes the content of one page may have.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// How many fonts are kept once read, and how many bytes of forms.
const CACHED_FONTS_MAX: usize = 256;
/// What reading a font costs, in operators.
const FONT_OPERATIONS: usize = 500;
const CACHED_FORM_BYTES_MAX: usize = 8 << 20;

/// Reads pages. What they share is read once.
#[derive(Debug)]
pub(super) struct Interpreter {
    operations_left: usize,
    text_bytes_max: usize,
    text_left: usize,
    fonts: HashMap<u32, Rc<Font>>,
    forms: HashMap<u32, Rc<Vec<u8>>>,
    form_bytes: usize,
}

/// A page, or a form on it, that is being read.
struct Run<'a> {
    resources: Rc<Dictionary>,
    lines: &'a mut Lines,
    pen: Pen,
    saved: Vec<State>,
    marked: Marked,
    depth: usize,
}

impl Interpreter {
    /// For a document of so much text.
    pub(super) fn new(text_bytes_max: usize) -> Interpreter {
        Interpreter {
            operations_left: OPERATIONS_MAX,
            text_bytes_max,
            text_left: text_bytes_max,
            fonts: HashMap::new(),
            forms: HashMap::new(),
            form_bytes: 0,
        }
    }

    /// Reads the text of a page.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn read(
        &mut self,
        file: &mut File<'_>,
        page: &Page,
        lines: &mut Lines,
    ) -> Result<(), ExtractError> {
        let content = content(file, page)?;
        let resources = file.dictionary(&page.resources)?.unwrap_or_default();
        let pen = Pen::new(Matrix::IDENTITY);
        let mut run = Run { resources, lines, pen, saved: Vec::new(), marked: Marked::default(), depth: 0 };
        self.run(file, &content, &mut run)
    }

    fn run(&mut self, file: &mut File<'_>, content: &[u8], run: &mut Run<'_>) -> Result<(), ExtractError> {
        let mut lexer = Lexer::content(content);
        let mut operands: Vec<Object> = Vec::new();
        while let Some(token) = lexer.token() {
            match token {
                Token::Operand(operand) if operands.len() < OPERANDS_MAX => operands.push(operand),
                Token::Operand(_) => {}
                Token::Operator(b"BI") => {
                    skip_image(content, &mut lexer);
                    operands.clear();
                }
                Token::Operator(operator) => {
                    self.spend(1)?;
                    self.operate(file, operator, &operands, run)?;
                    operands.clear();
                }
            }
        }
        Ok(())
    }

    fn spend(&mut self, operations: usize) -> Result<(), ExtractError> {
        let left = self.operations_left.checked_sub(operations);
        self.operations_left =
            left.ok_or_else(|| ExtractError::more_than(OPERATIONS_MAX, "drawing operations"))?;
        Ok(())
    }

    fn operate(
        &mut self,
        file: &mut File<'_>,
        operator: &[u8],
        operands: &[Object],
        run: &mut Run<'_>,
    ) -> Result<(), ExtractError> {
        match operator {
            b"q" if run.saved.len() < STATES_MAX => run.saved.push(run.pen.state.clone()),
            b"Q" => {
                if let Some(state) = run.saved.pop() {
                    run.pen.state = state;
                }
            }
            b"Tf" => {
                run.pen.state.size = operands.get(1).and_then(Object::number).unwrap_or(0.0);
                run.pen.state.font = self.font(file, operands, run)?;
            }
            b"gs" => self.graphics_state(file, operands, run)?,
            b"Do" => self.draw(file, operands, run)?,
            b"BDC" => run.marked.begin(actual_text(file, operands, &run.resources)?),
            b"BMC" => run.marked.begin(None),
            b"EMC" => run.marked.end(),
            b"Tj" | b"'" | b"\"" | b"TJ" => self.show(operator, operands, run)?,
            _ => {
                let numbers: Vec<f64> = operands.iter().filter_map(Object::number).collect();
                run.pen.operate(operator, &numbers);
            }
        }
        Ok(())
    }

    fn font(
        &mut self,
        file: &mut File<'_>,
        operands: &[Object],
        run: &Run<'_>,
    ) -> Result<Option<Rc<Font>>, ExtractError> {
        let Some(name) = operands.first().and_then(Object::name).cloned() else { return Ok(None) };
        let Some(fonts) = file.member(&run.resources, "Font")?.dictionary() else { return Ok(None) };
        self.load_font(file, &fonts.get(&name))
    }

    fn load_font(&mut self, file: &mut File<'_>, font: &Object) -> Result<Option<Rc<Font>>, ExtractError> {
        if let Object::Reference(number) = font
            && let Some(known) = self.fonts.get(number)
        {
            return Ok(Some(Rc::clone(known)));
        }
        let Some(dictionary) = file.dictionary(font)? else { return Ok(None) };
        self.spend(FONT_OPERATIONS)?;
        let loaded = Rc::new(Font::load(file, &dictionary)?);
        if let Object::Reference(number) = font {
            if self.fonts.len() >= CACHED_FONTS_MAX {
                self.fonts.clear();
            }
            self.fonts.insert(*number, Rc::clone(&loaded));
        }
        Ok(Some(loaded))
    }

    /// A graphics state may set the font.
    fn graphics_state(
        &mut self,
        file: &mut File<'_>,
        operands: &[Object],
        run: &mut Run<'_>,
    ) -> Result<(), ExtractError> {
        let Some(name) = operands.first().and_then(Object::name).cloned() else { return Ok(()) };
        let Some(states) = file.member(&run.resources, "ExtGState")?.dictionary() else { return Ok(()) };
        let Some(state) = file.member(&states, &name)?.dictionary() else { return Ok(()) };
        let Some(font) = file.member(&state, "Font")?.array() else { return Ok(()) };
        if let (Some(object), Some(size)) = (font.first(), font.get(1).and_then(Object::number)) {
            run.pen.state.font = self.load_font(file, object)?;
            run.pen.state.size = size;
        }
        Ok(())
    }

    /// Draws a form; images have no text.
    fn draw(
        &mut self,
        file: &mut File<'_>,
        operands: &[Object],
        run: &mut Run<'_>,
    ) -> Result<(), ExtractError> {
        let Some(name) = operands.first().and_then(Object::name).cloned() else { return Ok(()) };
        let Some(objects) = file.member(&run.resources, "XObject")?.dictionary() else { return Ok(()) };
        let object = objects.get(&name);
        let Some(stream) = file.resolve(&object)?.stream() else { return Ok(()) };
        if !stream.dictionary.is("Subtype", "Form") || run.depth >= FORMS_MAX {
            return Ok(());
        }
        let content = self.form(file, &object, &stream)?;
        let matrix = file.member(&stream.dictionary, "Matrix")?.array().unwrap_or_default();
        let numbers: Vec<f64> = matrix.iter().filter_map(Object::number).collect();
        let matrix = Matrix::new(&numbers).unwrap_or(Matrix::IDENTITY);
        let own = file.member(&stream.dictionary, "Resources")?.dictionary();
        let mut inner = Run {
            resources: own.unwrap_or_else(|| Rc::clone(&run.resources)),
            lines: &mut *run.lines,
            pen: Pen::new(matrix.then(&run.pen.state.ctm)),
            saved: Vec::new(),
            marked: Marked::default(),
            depth: run.depth + 1,
        };
        self.run(file, &content, &mut inner)
    }

    fn form(
        &mut self,
        file: &mut File<'_>,
        object: &Object,
        stream: &Stream,
    ) -> Result<Rc<Vec<u8>>, ExtractError> {
        let Object::Reference(number) = object else { return Ok(Rc::new(file.data(stream)?)) };
        if let Some(known) = self.forms.get(number) {
            return Ok(Rc::clone(known));
        }
        let data = Rc::new(file.data(stream)?);
        if self.form_bytes + data.len() <= CACHED_FORM_BYTES_MAX {
            self.form_bytes += data.len();
            self.forms.insert(*number, Rc::clone(&data));
        }
        Ok(data)
    }

    fn show(&mut self, operator: &[u8], operands: &[Object], run: &mut Run<'_>) -> Result<(), ExtractError> {
        if operator == b"\"" {
            let number = |place: usize| operands.get(place).and_then(Object::number).unwrap_or(0.0);
            run.pen.state.word_space = number(0);
            run.pen.state.character_space = number(1);
        }
        if matches!(operator, b"'" | b"\"") {
            run.pen.operate(b"T*", &[]);
        }
        let array = operands.last().and_then(Object::array);
        let parts = array.as_deref().map_or(operands, Vec::as_slice);
        let parts =
            if array.is_some() { parts } else { parts.last().map(std::slice::from_ref).unwrap_or_default() };
        run.pen.begin();
        for part in parts {
            match part {
                Object::Number(number) => run.pen.adjust(*number, run.lines)?,
                Object::Text(text) => {
                    let shown = run.pen.show(text, &mut run.marked, self.text_left);
                    self.text_left = self
                        .text_left
                        .checked_sub(shown)
                        .ok_or_else(|| ExtractError::more_than(self.text_bytes_max, "bytes of text"))?;
                }
                _ => {}
            }
        }
        run.pen.end(run.lines)
    }
}

fn content(file: &mut File<'_>, page: &Page) -> Result<Vec<u8>, ExtractError> {
    let contents = file.member(&page.dictionary, "Contents")?;
    if let Some(stream) = contents.stream() {
        return file.data(&stream);
    }
    let mut all = Vec::new();
    for part in contents.array().unwrap_or_default().iter() {
        let Some(stream) = file.resolve(part)?.stream() else { continue };
        all.extend(file.data(&stream)?);
        all.push(b'\n');
        if all.len() > PAGE_BYTES_MAX {
            return Err(ExtractError::TooLarge(format!(
                "one of its pages is more than {PAGE_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(all)
}

/// What marked content is to be read as, where it says so.
fn actual_text(
    file: &mut File<'_>,
    operands: &[Object],
    resources: &Dictionary,
) -> Result<Option<String>, ExtractError> {
    let properties = match operands.get(1) {
        Some(Object::Name(name)) => match file.member(resources, "Properties")?.dictionary() {
            Some(properties) => file.member(&properties, name)?.dictionary(),
            None => None,
        },
        Some(object) => object.dictionary(),
        None => None,
    };
    let Some(properties) = properties else { return Ok(None) };
    Ok(file.member(&properties, "ActualText")?.text().map(super::text::readable))
}

/// Goes past an image that stands in the content itself.
fn skip_image(content: &[u8], lexer: &mut Lexer<'_>) {
    let from = lexer.at();
    let rest = content.get(from..).unwrap_or_default();
    let is_end = |window: &[u8]| {
        window.first().is_some_and(|byte| super::lexer::is_space(*byte))
            && window.get(1..3) == Some(b"EI")
            && window.get(3).is_none_or(|byte| super::lexer::is_space(*byte))
    };
    let end = rest.windows(4).position(is_end).map_or(content.len(), |at| from + at + 3);
    lexer.jump(end);
}
