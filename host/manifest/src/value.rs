//! Values of variables, which a log must not show if they are secret.

use std::fmt;

/// A variable's value. Debug hides it if it is secret or was made from a secret; there is no Display.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableValue {
    text: String,
    is_secret: bool,
}

impl VariableValue {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>, is_secret: bool) -> Self {
        Self { text: text.into(), is_secret }
    }

    /// The value itself, to be handed to the guest that may see it, and to nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// True if the value is secret or holds a secret one.
    pub fn is_secret(&self) -> bool {
        self.is_secret
    }
}

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret { f.write_str("(secret)") } else { self.text.fmt(f) }
    }
}
