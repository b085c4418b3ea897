//! `compose OUT FUNCTION DEPENDENCY…`: the function with those of its imports satisfied that one of the components exports.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, plug};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().context("where to is missing")?;
    let function = arguments.next().context("the function is missing")?;
    let mut graph = CompositionGraph::new();
    let socket = register(&mut graph, "function", &function)?;
    let mut plugs = Vec::new();
    for (number, file) in arguments.enumerate() {
        plugs.push(register(&mut graph, &format!("dependency-{number}"), &file)?);
    }
    plug(&mut graph, plugs, socket)?;
    std::fs::write(&out, graph.encode(EncodeOptions::default())?)?;
    Ok(())
}

fn register(graph: &mut CompositionGraph, name: &str, file: &Path) -> Result<PackageId> {
    let package = Package::from_file(name, None, file, graph.types_mut())?;
    Ok(graph.register_package(package)?)
}
