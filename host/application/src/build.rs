//! `waggle build`: runs each component's build command in its folder. A missing WebAssembly target is added first,
//! and said.

use crate::error::StartError;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use waggle_manifest::Manifest;

/// What is happening, for the screen.
#[derive(Clone, Debug)]
pub enum BuildEvent<'a> {
    /// A target is missing and is being added by rustup.
    AddingTarget(&'a str),
    /// A component's command begins.
    Begins {
        /// The component.
        component: &'a str,
        /// The command, as in spin.toml.
        command: &'a str,
        /// Which command of how many.
        step: (usize, usize),
    },
    /// A component's command has ended well.
    Ended {
        /// The component.
        component: &'a str,
        /// How long it took.
        took: Duration,
    },
}

/// One command of one component.
struct Step<'a> {
    component: &'a str,
    command: &'a str,
    folder: PathBuf,
}

/// Builds every component that says how, or only those named in `only`.
///
/// # Errors
/// [`StartError::Build`] for the first command that fails; [`StartError::Option`] for an unknown name in `only`.
pub fn build(
    manifest: &Manifest,
    only: &[String],
    report: &mut dyn FnMut(BuildEvent<'_>),
) -> Result<(), StartError> {
    let is_dependency = |name: &str| manifest.dependencies.iter().any(|one| one.id.value == name);
    let is_known = |name: &str| manifest.component(name).is_some() || is_dependency(name);
    if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
        return Err(StartError::Option {
            what: format!("--component-id {unknown}"),
            reason: "spin.toml has no component of that name".into(),
        });
    }
    let steps = steps(manifest, only);
    add_missing_targets(&steps, report)?;
    for (index, step) in steps.iter().enumerate() {
        report(BuildEvent::Begins {
            component: step.component,
            command: step.command,
            step: (index + 1, steps.len()),
        });
        let began = Instant::now();
        run(step)?;
        report(BuildEvent::Ended { component: step.component, took: began.elapsed() });
    }
    Ok(())
}

fn steps<'a>(manifest: &'a Manifest, only: &[String]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    for component in manifest.dependencies.iter().chain(&manifest.components) {
        let id = component.id.value.as_str();
        let Some(build) =
            component.build.as_ref().filter(|_| only.is_empty() || only.iter().any(|one| one == id))
        else {
            continue;
        };
        let folder = match &build.workdir {
            Some(workdir) => manifest.dir().join(&workdir.value),
            None => manifest.dir().to_owned(),
        };
        // A manifest in the current folder has no folder in its path.
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        for command in &build.commands {
            steps.push(Step { component: id, command, folder: folder.clone() });
        }
    }
    steps
}

fn run(step: &Step<'_>) -> Result<(), StartError> {
    let failed = |outcome: String| StartError::Build {
        component: step.component.to_owned(),
        command: step.command.to_owned(),
        outcome,
    };
    let status = Command::new("sh")
        .args(["-c", step.command])
        .current_dir(&step.folder)
        .status()
        .map_err(|error| failed(format!("could not be run in {}: {error}", step.folder.display())))?;
    if status.success() { Ok(()) } else { Err(failed(format!("failed: {status}"))) }
}

/// The Rust targets that the commands ask cargo for.
fn targets(steps: &[Step<'_>]) -> BTreeSet<String> {
    let mut targets = BTreeSet::new();
    for step in steps.iter().filter(|step| step.command.contains("cargo")) {
        let words: Vec<&str> = step.command.split_whitespace().collect();
        for (index, word) in words.iter().enumerate() {
            let target = match word.strip_prefix("--target=") {
                Some(target) => Some(target),
                None if *word == "--target" => words.get(index + 1).copied(),
                None => None,
            };
            targets.extend(target.filter(|target| target.starts_with("wasm32-")).map(str::to_owned));
        }
    }
    targets
}

/// Asks rustup which targets there are and adds those that are missing. Without rustup the build command itself says
/// what it lacks.
fn add_missing_targets(steps: &[Step<'_>], report: &mut dyn FnMut(BuildEvent<'_>)) -> Result<(), StartError> {
    let wanted = targets(steps);
    let Some(Step { folder, .. }) = steps.first().filter(|_| !wanted.is_empty()) else {
        return Ok(());
    };
    let Ok(listed) =
        Command::new("rustup").args(["target", "list", "--installed"]).current_dir(folder).output()
    else {
        return Ok(());
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for target in wanted.iter().filter(|target| !listed.lines().any(|line| line.trim() == target.as_str())) {
        report(BuildEvent::AddingTarget(target));
        let command = format!("rustup target add {target}");
        run(&Step { component: "(all)", command: &command, folder: folder.clone() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: &[&str]) {
        let step = Step { component: "one", command, folder: PathBuf::new() };
        let found: Vec<String> = targets(&[step]).into_iter().collect();
        assert_eq!(found, expected, "{command}");
    }

    #[test]
    fn the_targets_of_cargo_commands_are_found() {
        check("cargo build --target wasm32-wasip2 --release", &["wasm32-wasip2"]);
        check("cargo build --target=wasm32-wasip1", &["wasm32-wasip1"]);
        check("npm run build --target wasm32-wasip2", &[]);
        check("cargo build --release", &[]);
    }
}
