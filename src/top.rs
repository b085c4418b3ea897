//! `waggle top`

use crate::admin_client::block_on;
use crate::screen;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use waggle_operations::top::{self, Options};

#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    options: Options,
}

impl Top {
    pub(crate) fn run(self) -> Result<ExitCode> {
        block_on(async {
            if self.options.once {
                screen::print(&top::once(&self.options).await?)?;
            } else {
                top::watch(&self.options).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
