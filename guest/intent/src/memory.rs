//! What an instance remembers between requests. It serves one tenant, and so does its memory: the intents as they were read,
//! and the vectors of their examples.

use crate::catalogue::{Catalogue, IntentsError};
use std::cell::RefCell;
use std::rc::Rc;
use waggle_search::EmbeddingModel;

/// Vectors of the examples, in their order.
pub(crate) type Vectors = Rc<Vec<Vec<f32>>>;

#[derive(Debug, Default)]
struct Known {
    text: String,
    catalogue: Rc<Catalogue>,
    vectors: Option<(EmbeddingModel, Vectors)>,
}

/// The intents that were asked for last. It holds nothing of a user's.
#[derive(Debug, Default)]
pub struct Memory {
    known: RefCell<Known>,
}

impl Memory {
    /// The intents that the variable says, read once.
    ///
    /// # Errors
    /// It cannot be read; the error says where.
    pub(crate) fn catalogue(&self, text: &str) -> Result<Rc<Catalogue>, IntentsError> {
        if self.known.borrow().text == text {
            return Ok(Rc::clone(&self.known.borrow().catalogue));
        }
        let catalogue = Rc::new(Catalogue::read(text)?);
        let known = Known { text: text.to_owned(), catalogue: Rc::clone(&catalogue), vectors: None };
        self.known.replace(known);
        Ok(catalogue)
    }

    /// The vectors of the examples of `catalogue`, if they are of this model.
    pub(crate) fn vectors(&self, catalogue: &Rc<Catalogue>, model: &EmbeddingModel) -> Option<Vectors> {
        let known = self.known.borrow();
        let vectors = known.vectors.as_ref().filter(|(of, _)| of == model)?;
        Rc::ptr_eq(&known.catalogue, catalogue).then(|| Rc::clone(&vectors.1))
    }

    /// Remembers them, unless the intents have changed meanwhile.
    pub(crate) fn keep(&self, catalogue: &Rc<Catalogue>, model: &EmbeddingModel, vectors: &Vectors) {
        let mut known = self.known.borrow_mut();
        if Rc::ptr_eq(&known.catalogue, catalogue) {
            known.vectors = Some((model.clone(), Rc::clone(vectors)));
        }
    }
}
