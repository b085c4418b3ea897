//! The API keys of many tenants: a file with a key per line, and which one the next request has.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, bail};
use hyper::header::HeaderValue;

/// The most keys of one run.
pub(crate) const KEYS_MAX: usize = 100_000;

/// Keys in the order in which tenants are asked; shared by all clients of a run.
pub struct Keys {
    values: Vec<HeaderValue>,
    next: AtomicUsize,
    /// Each key is used once, so that each request is its tenant's first.
    once: bool,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("count", &self.values.len()).finish_non_exhaustive()
    }
}

impl Keys {
    /// The first `count` keys of a file that holds one per line; blank lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// A file that cannot be read, or has fewer keys. No error holds a key.
    pub fn read(path: &Path, count: usize) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut values = Vec::new();
        for (line, key) in keys.take(count.min(KEYS_MAX)) {
            values.push(bearer(key).with_context(|| {
                format!("{}:{line}: the key holds characters that headers cannot", path.display())
            })?);
        }
        if values.len() < count {
            bail!(
                "{} holds {} keys, but the scenario has {count} tenants; `waggle-bench keys --count {count}` makes more",
                path.display(),
                values.len()
            );
        }
        Ok(Self { values, next: AtomicUsize::new(0), once: false })
    }

    /// The same keys, each used only once.
    #[must_use]
    pub fn each_once(self) -> Self {
        Self { once: true, ..self }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The next key, round and round; `None` when each has been used once and that was all.
    pub(crate) fn next(&self) -> Option<&HeaderValue> {
        let at = self.next.fetch_add(1, Relaxed);
        if self.once { self.values.get(at) } else { self.values.get(at % self.values.len().max(1)) }
    }
}

/// `Bearer KEY`.
fn bearer(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn keys_go_round_or_are_used_once() {
        let file = file("# two tenants\na\n\n b \nc\n");
        let keys = Keys::read(file.path(), 2).unwrap();
        let taken: Vec<_> = (0..3).map(|_| keys.next().unwrap().to_str().unwrap()).collect();
        assert_eq!(taken, ["Bearer a", "Bearer b", "Bearer a"]);
        let once = Keys::read(file.path(), 2).unwrap().each_once();
        assert_eq!((0..4).filter_map(|_| once.next()).count(), 2);
    }

    #[test]
    fn mistakes_are_told_without_a_key() {
        let few = Keys::read(file("secret-key\n").path(), 2).unwrap_err().to_string();
        assert!(
            few.contains("holds 1 keys, but the scenario has 2 tenants") && !few.contains("secret"),
            "{few}"
        );
        let odd = Keys::read(file("a\nsecret\u{1}key\n").path(), 2).unwrap_err().to_string();
        assert!(odd.contains(":2: the key holds characters") && !odd.contains("secret"), "{odd}");
        let shown = format!("{:?}", Keys::read(file("secret\n").path(), 1).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
