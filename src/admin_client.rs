//! What the subcommands that speak to the admin API have in common: where it is, how values are written.

use anyhow::{Context as _, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use waggle_admin::{AdminClient, ClientError, Finder};
use waggle_secret::Secret;

/// The folder for state, beside the manifest.
const STATE_DIR: &str = ".waggle";

#[derive(Args)]
pub(crate) struct Connection {
    /// The admin API, such as http://127.0.0.1:4000 [default: that of the server with this state folder]
    #[arg(long, env = "WAGGLE_ADMIN_URL", value_name = "URL", global = true)]
    admin_url: Option<String>,
    /// The admin key [default: the one in the state folder]
    #[arg(long, env = "WAGGLE_ADMIN_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    admin_key: Option<String>,
    /// The server's state folder [default: .waggle beside the manifest]
    #[arg(long, value_name = "FOLDER", global = true)]
    state_dir: Option<PathBuf>,
    /// The manifest, or the folder it is in
    #[arg(
        short = 'f',
        long = "from",
        alias = "file",
        value_name = "PATH",
        default_value = "spin.toml",
        global = true
    )]
    from: PathBuf,
}

impl Connection {
    pub(crate) fn client(self) -> Result<AdminClient, ClientError> {
        let state_dir = self.state_dir.unwrap_or_else(|| state_dir_beside(&self.from));
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        Finder { url: given(self.admin_url), key: given(self.admin_key).map(Secret::new), state_dir }.find()
    }
}

fn state_dir_beside(manifest: &Path) -> PathBuf {
    let folder = if manifest.is_dir() { manifest } else { manifest.parent().unwrap_or(Path::new("")) };
    folder.join(STATE_DIR)
}

/// Waits for `work`: these subcommands need no threads.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the program cannot wait for the network")?.block_on(work)
}

/// Seconds, written as a number with `s`, `m`, `h` or `d`; a bare number means seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| digits);
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "expected a number with s, m, h or d, such as 90d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(seconds(text).ok(), expected, "{text}");
        check("90d", Some(7_776_000));
        check("1h", Some(3_600));
        check("5m", Some(300));
        check("7s", Some(7));
        check("2", Some(2));
        for wrong in ["", "d", "1w", "-1s", "+1s", "1.5h", "99999999999999999d", "ä"] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_state_folder_is_beside_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(state_dir_beside(dir.path()), dir.path().join(".waggle"));
        assert_eq!(state_dir_beside(&dir.path().join("spin.toml")), dir.path().join(".waggle"));
        assert_eq!(state_dir_beside(Path::new("spin.toml")), Path::new(".waggle"));
    }
}
