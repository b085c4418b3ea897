//! The `waggle` program: parse the command line, run one subcommand.

mod admin_client;
mod build;
mod kb;
mod moment;
mod progress;
mod screen;
mod signals;
mod tenant;
mod token;
mod tool;
mod top;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Gives the memory of ended instances back, and costs a turn less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A multi-tenant backend for AI customer service and agents that runs at the edge.
#[derive(Parser)]
#[command(name = "waggle", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the application of a spin.toml and serve it
    Up(Box<up::Up>),
    /// Tenants of a running server: add, list, suspend, remove, and their keys
    Tenant(tenant::Tenant),
    /// Tools of a tenant of a running server: add, accept, list, disable, remove
    Tool(Box<tool::Tool>),
    /// Make a token for one user of a tenant, for development
    Token(token::Token),
    /// Files and folders as the knowledge that turns are answered from: add, list, search, remove
    Kb(kb::Kb),
    /// Watch a running server: tenants, functions, latency, upstreams
    Top(top::Top),
    /// Run the build commands of the components in a spin.toml
    Build(build::Build),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(up) => up.run(),
        Command::Tenant(tenant) => tenant.run(),
        Command::Tool(tool) => tool.run(),
        Command::Token(token) => token.run(),
        Command::Kb(kb) => kb.run(),
        Command::Top(top) => top.run(),
        Command::Build(build) => build.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) if error.is::<screen::NobodyReads>() => ExitCode::from(screen::NobodyReads::EXIT_CODE),
        Err(error) => {
            screen::error(&error);
            ExitCode::FAILURE
        }
    }
}
