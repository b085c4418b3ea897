//! The pages of a PDF, in their order (ISO 32000, 7.7.3).

use super::file::File;
use super::object::{Dictionary, Object};
use crate::error::ExtractError;
use std::collections::HashSet;
use std::rc::Rc;

/// How deep the tree may be.
const DEPTH_MAX: usize = 64;

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) dictionary: Rc<Dictionary>,
    /// Its own resources, or those of the next node above that has some.
    pub(super) resources: Object,
}

/// The nodes below one node that are still to be visited.
struct Level {
    kids: Rc<Vec<Object>>,
    next: usize,
    resources: Object,
}

/// All pages.
///
/// # Errors
/// [`ExtractError::TooLarge`] with more than `pages_max`.
pub(super) fn pages(file: &mut File<'_>, pages_max: usize) -> Result<Vec<Page>, ExtractError> {
    let mut pages = Vec::new();
    let Some(root) = file.pages_root()? else { return Ok(pages) };
    let mut seen = HashSet::new();
    let mut levels = vec![Level { kids: Rc::new(vec![root]), next: 0, resources: Object::Null }];
    while let Some(level) = levels.last_mut() {
        let Some(kid) = level.kids.get(level.next).cloned() else {
            levels.pop();
            continue;
        };
        level.next += 1;
        let inherited = level.resources.clone();
        if let Object::Reference(number) = kid
            && !seen.insert(number)
        {
            continue;
        }
        let Some(dictionary) = file.dictionary(&kid)? else { continue };
        let own = dictionary.get("Resources");
        let resources = if matches!(own, Object::Null) { inherited } else { own };
        match file.member(&dictionary, "Kids")?.array() {
            Some(kids) if levels.len() < DEPTH_MAX => levels.push(Level { kids, next: 0, resources }),
            Some(_) => {}
            None => pages.push(Page { dictionary, resources }),
        }
        if pages.len() > pages_max {
            return Err(ExtractError::more_than(pages_max, "pages"));
        }
    }
    Ok(pages)
}
