//! `waggle-bench keys`: fresh API keys, and the tenants.toml by which the server knows them.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::keys::KEYS_MAX;
use crate::tenants::made_tenants;

#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    /// How many tenants, with a key each
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Where the server's tenants.toml is written
    #[arg(long, value_name = "FILE")]
    tenants: PathBuf,
    /// Where the keys are written, one per line, readable for you alone
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
}

pub(super) fn execute_keys(arguments: &KeysArguments) -> anyhow::Result<String> {
    let count = arguments.count;
    if !(1..=KEYS_MAX).contains(&count) {
        bail!("{count} keys: from 1 to {KEYS_MAX} can be made");
    }
    let made = made_tenants(u32::try_from(count)?)?;
    write(&arguments.tenants, &made.tenants_toml)?;
    write(&arguments.keys, &made.keys)?;
    Ok(format!(
        "{count} tenants in {}, their keys in {}\nNext: waggle up --tenants {} ..., then waggle-bench run --keys {} ...\n",
        arguments.tenants.display(),
        arguments.keys.display(),
        arguments.tenants.display(),
        arguments.keys.display()
    ))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tenants_are_written_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let arguments = KeysArguments { count: 3, tenants: at("tenants.toml"), keys: at("keys") };
        execute_keys(&arguments).unwrap();
        let tenants: toml::Table = std::fs::read_to_string(at("tenants.toml")).unwrap().parse().unwrap();
        assert_eq!(tenants["tenant"].as_table().unwrap().len(), 3);
        assert_eq!(crate::keys::Keys::read(&at("keys"), 3).unwrap().count(), 3);
    }
}
