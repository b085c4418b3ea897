//! The `waggle` program: parse the command line, run one subcommand.
fn main() -> anyhow::Result<()> {
    Ok(())
}
