//! The header fields of a message, taken from the host in one call: each question to the host costs more than all of them.

use spin_sdk::wasip3::http::types::Fields;

/// Header fields, from which each is taken once.
pub(crate) struct HeaderFields(Vec<(String, Vec<u8>)>);

impl HeaderFields {
    pub(crate) fn of(fields: &Fields) -> Self {
        Self(fields.copy_all())
    }

    /// A copy of all of them, if one is wanted, and none otherwise.
    pub(crate) fn copied(&self, wanted: bool) -> Vec<(String, Vec<u8>)> {
        if wanted { self.0.clone() } else { Vec::new() }
    }

    /// The first value of a field, if it is text, which stays.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.and_then(|(_, value)| str::from_utf8(value).ok())
    }

    /// All of them.
    #[cfg(feature = "fetch")]
    pub(crate) fn into_inner(self) -> Vec<(String, Vec<u8>)> {
        self.0
    }

    /// All values of a field, in their order.
    pub(crate) fn all(&mut self, name: &str) -> Vec<Vec<u8>> {
        let fields = self.0.iter_mut().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| std::mem::take(value)).collect()
    }

    /// The first value of a field, if it is text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let field = self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.and_then(|(_, value)| String::from_utf8(std::mem::take(value)).ok())
    }
}

impl From<Vec<(String, Vec<u8>)>> for HeaderFields {
    fn from(fields: Vec<(String, Vec<u8>)>) -> Self {
        Self(fields)
    }
}
