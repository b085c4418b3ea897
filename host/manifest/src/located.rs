//! A value and where it stands in its file.

use std::fmt;
use std::ops::{Deref, Range};

/// A value with the bytes of the file it was read from, so that a mistake found later can still be shown in place.
#[derive(Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// What was read.
    pub value: T,
    /// Bytes of the manifest's text.
    pub span: Range<usize>,
}

impl<T> Located<T> {
    /// `value` as found at `span`.
    pub fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }

    /// Another value from the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), span: self.span }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Shows the value alone; the place is noise in a log or a failed test.
impl<T: fmt::Debug> fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
