//! `waggle build`

use crate::screen;
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use waggle_application::StartError;
use waggle_manifest::{LoadOptions, Manifest};

#[derive(Args)]
pub(crate) struct Build {
    /// The manifest, or the folder it is in
    #[arg(short = 'f', long = "from", alias = "file", value_name = "PATH", default_value = "spin.toml")]
    from: PathBuf,
    /// The manifest's profile to build
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Build only this component; may be repeated
    #[arg(short = 'c', long = "component-id", value_name = "ID")]
    component_id: Vec<String>,
}

impl Build {
    pub(crate) fn run(self) -> Result<ExitCode> {
        components(&self.from, self.profile, &self.component_id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds what the manifest says, with progress on the screen.
pub(crate) fn components(from: &Path, profile: Option<String>, only: &[String]) -> Result<(), StartError> {
    let manifest = Manifest::load(from, &LoadOptions { profile })?;
    waggle_application::build(&manifest, only, &mut |event| screen::build_event(&event))
}
