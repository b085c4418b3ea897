//! What a PDF is made of (ISO 32000, 7.3). Copies are cheap: what is large is shared.

use std::collections::HashMap;
use std::rc::Rc;

/// An object. What nothing here asks for (booleans) is null.
#[derive(Debug, Clone, Default)]
pub(super) enum Object {
    #[default]
    Null,
    Number(f64),
    Text(Rc<Vec<u8>>),
    Name(Rc<str>),
    Array(Rc<Vec<Object>>),
    Dictionary(Rc<Dictionary>),
    Stream(Rc<Stream>),
    /// Another object by its number. Generations are not looked at: a file has one of each number that counts.
    Reference(u32),
}

/// Objects by their names.
#[derive(Debug, Default)]
pub(super) struct Dictionary(pub(super) HashMap<Rc<str>, Object>);

/// A dictionary with data.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) dictionary: Rc<Dictionary>,
    /// Where the data begins in the file.
    pub(super) start: usize,
}

impl Dictionary {
    /// The object of a name, null where there is none.
    pub(super) fn get(&self, name: &str) -> Object {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Whether there is an object of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the object of a name is this name.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).and_then(Object::name).is_some_and(|found| &**found == value)
    }
}

impl Object {
    pub(super) fn number(&self) -> Option<f64> {
        if let Object::Number(number) = self { Some(*number) } else { None }
    }

    /// A number that can be an offset, a length or a count.
    pub(super) fn count(&self) -> Option<usize> {
        let number = self.number()?;
        (number >= 0.0 && number <= f64::from(u32::MAX)).then_some(number as usize)
    }

    pub(super) fn name(&self) -> Option<&Rc<str>> {
        if let Object::Name(name) = self { Some(name) } else { None }
    }

    pub(super) fn text(&self) -> Option<&[u8]> {
        if let Object::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn array(&self) -> Option<Rc<Vec<Object>>> {
        if let Object::Array(array) = self { Some(Rc::clone(array)) } else { None }
    }

    /// A dictionary, that of a stream included.
    pub(super) fn dictionary(&self) -> Option<Rc<Dictionary>> {
        match self {
            Object::Dictionary(dictionary) => Some(Rc::clone(dictionary)),
            Object::Stream(stream) => Some(Rc::clone(&stream.dictionary)),
            _ => None,
        }
    }

    pub(super) fn stream(&self) -> Option<Rc<Stream>> {
        if let Object::Stream(stream) = self { Some(Rc::clone(stream)) } else { None }
    }
}
