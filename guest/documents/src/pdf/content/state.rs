//! The graphics and text state, and the pen that moves through it.

use super::marked::Marked;
use crate::error::ExtractError;
use crate::pdf::font::Font;
use crate::pdf::kangxi;
use crate::pdf::lines::{Lines, Span};
use crate::pdf::matrix::Matrix;
use crate::script::needs_space;
use std::f64::consts::FRAC_PI_2;
use std::rc::Rc;

/// A gap of so much of the font's size is a space, and one of so much parts two columns.
const SPACE: f64 = 0.18;
const COLUMN: f64 = 2.0;

/// What is saved and restored.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) ctm: Matrix,
    pub(super) font: Option<Rc<Font>>,
    pub(super) size: f64,
    pub(super) character_space: f64,
    pub(super) word_space: f64,
    /// Horizontally, 1 for 100 %.
    scale: f64,
    leading: f64,
    rise: f64,
}

/// Where text is shown next.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) state: State,
    text: Matrix,
    line: Matrix,
    span: Option<Span>,
    /// What the last adjustments have moved, in the size of the font.
    moved: f64,
}

impl Pen {
    /// At the beginning of a page or form.
    pub(super) fn new(ctm: Matrix) -> Pen {
        let state = State {
            ctm,
            font: None,
            size: 0.0,
            character_space: 0.0,
            word_space: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        Pen { state, text: Matrix::IDENTITY, line: Matrix::IDENTITY, span: None, moved: 0.0 }
    }

    /// An operator that only moves or sets.
    pub(super) fn operate(&mut self, operator: &[u8], numbers: &[f64]) {
        let number = |place: usize| numbers.get(place).copied().unwrap_or(0.0);
        match operator {
            b"cm" => {
                if let Some(matrix) = Matrix::new(numbers) {
                    self.state.ctm = matrix.then(&self.state.ctm);
                }
            }
            b"BT" => self.set(Matrix::IDENTITY),
            b"Tm" => {
                if let Some(matrix) = Matrix::new(numbers) {
                    self.set(matrix);
                }
            }
            b"Td" => self.next_line(number(0), number(1)),
            b"TD" => {
                self.state.leading = -number(1);
                self.next_line(number(0), number(1));
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"Tc" => self.state.character_space = number(0),
            b"Tw" => self.state.word_space = number(0),
            b"Tz" => self.state.scale = number(0) / 100.0,
            b"TL" => self.state.leading = number(0),
            b"Ts" => self.state.rise = number(0),
            _ => {}
        }
    }

    fn set(&mut self, matrix: Matrix) {
        self.text = matrix;
        self.line = matrix;
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.set(Matrix::translation(x, y).then(&self.line));
    }

    /// A string, or an array of them, begins.
    pub(super) fn begin(&mut self) {
        self.moved = 0.0;
        self.span = Some(self.new_span());
    }

    /// A span without text at the pen: its place along and across the direction in which text runs.
    fn new_span(&self) -> Span {
        let matrix = self.text.then(&self.state.ctm);
        let length = matrix.a.hypot(matrix.b);
        let (cosine, sine) = if length > 0.0 { (matrix.a / length, matrix.b / length) } else { (1.0, 0.0) };
        let up = matrix.c.hypot(matrix.d);
        let turns = (sine.atan2(cosine) / FRAC_PI_2).round();
        let x = matrix.e * cosine + matrix.f * sine;
        let y = matrix.f * cosine - matrix.e * sine + self.state.rise * up;
        Span {
            text: String::new(),
            x,
            y,
            end: x,
            size: self.state.size.abs() * up,
            is_bold: self.state.font.as_ref().is_some_and(|font| font.is_bold),
            direction: turns.rem_euclid(4.0) as u8,
        }
    }

    /// A number between strings: thousandths of the font's size, backwards.
    pub(super) fn adjust(&mut self, number: f64, lines: &mut Lines) -> Result<(), ExtractError> {
        let back = number / 1_000.0;
        self.advance(-back * self.state.size * self.state.scale);
        self.moved -= back;
        if self.moved.abs() > COLUMN {
            self.end(lines)?;
            self.begin();
        }
        Ok(())
    }

    fn advance(&mut self, by: f64) {
        self.text = Matrix::translation(by, 0.0).then(&self.text);
    }

    /// Shows a string; how many bytes of text it had. Much more than `bytes_max` are not made.
    pub(super) fn show(&mut self, bytes: &[u8], marked: &mut Marked, bytes_max: usize) -> usize {
        let Some(font) = self.state.font.clone() else { return 0 };
        let mut text = String::new();
        let mut width = 0.0;
        let State { size, character_space, word_space, scale, .. } = self.state;
        font.each(bytes, |glyph| {
            if text.len() <= bytes_max {
                push_meant(glyph.text, &mut text);
            }
            let word_space = if glyph.is_space { word_space } else { 0.0 };
            width += (glyph.width * size + character_space + word_space) * scale;
        });
        if let Some(replacement) = marked.replacement() {
            text = replacement;
        }
        self.advance(width);
        let moved = std::mem::take(&mut self.moved);
        let Some(span) = self.span.as_mut() else { return 0 };
        let is_apart = moved > SPACE && needs_space(span.text.chars().next_back(), text.chars().next());
        if is_apart {
            span.text.push(' ');
        }
        span.text.push_str(&text);
        text.len() + usize::from(is_apart)
    }

    /// The string or the array ends.
    pub(super) fn end(&mut self, lines: &mut Lines) -> Result<(), ExtractError> {
        let Some(mut span) = self.span.take() else { return Ok(()) };
        let end = self.new_span();
        span.end = end.x;
        let is_sound = [span.x, span.y, span.end, span.size].iter().all(|number| number.is_finite());
        if is_sound { lines.push(span) } else { Ok(()) }
    }
}

/// The characters that a glyph stands for rather than those that it looks like.
fn push_meant(text: &str, out: &mut String) {
    for character in text.chars() {
        match kangxi::meant(character) {
            Some(meant) => out.push_str(meant),
            None => out.push(character),
        }
    }
}
