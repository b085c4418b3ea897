//! What the program writes for people: the start-up screen, the progress of builds, errors.

use anyhow::{Context as _, Error};
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use waggle_application::{BuildEvent, ModelChoice, StartError, Summary};
use waggle_manifest::Diagnostic;

/// Whoever read standard output has gone away, as `head` does when it has enough. It is no mistake of anybody's.
#[derive(Debug)]
pub(crate) struct NobodyReads;

impl NobodyReads {
    /// The exit code by which a shell knows a program that ended for want of a reader: 128 and the number of SIGPIPE.
    pub(crate) const EXIT_CODE: u8 = 141;
}

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for NobodyReads {}

/// Writes `text` to standard output, and a line end unless it has one.
///
/// # Errors
/// [`NobodyReads`], or that it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    prompt(&format!("{text}{end}"))
}

/// Writes `text` to standard output as it is.
///
/// # Errors
/// As [`print()`].
pub(crate) fn prompt(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        written => written.context("the output cannot be written"),
    }
}

/// An error that ends the program, on standard error.
pub(crate) fn error(error: &Error) {
    let mut out = std::io::stderr().lock();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = match error.downcast_ref::<StartError>() {
        Some(StartError::Diagnostics(diagnostics)) => diagnostics.render(colour),
        // Its messages hold their causes already.
        Some(start) => format!("error: {start}"),
        None => format!("error: {error:#}"),
    };
    let _ = writeln!(out, "{}", text.trim_end());
}

/// A line for people beside the output, on standard error. The work goes on whether somebody reads it or not.
pub(crate) fn complain(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr().lock(), "{line}");
}

/// A warning about a file, on standard error.
pub(crate) fn warning(diagnostic: &Diagnostic) {
    let mut out = std::io::stderr().lock();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = writeln!(out, "{}", diagnostic.render(colour).trim_end());
}

/// The progress of a build, which goes on whether somebody reads it or not.
pub(crate) fn build_event(event: &BuildEvent<'_>) {
    let text = match event {
        BuildEvent::AddingTarget(target) => {
            format!("The Rust target {target} is missing; adding it with `rustup target add {target}`")
        }
        BuildEvent::Begins { component, command, step: (number, count) } => {
            format!("Building {component} ({number}/{count}): {command}")
        }
        BuildEvent::Ended { component, took } => {
            format!("Built {component} in {:.1} s", took.as_secs_f64())
        }
    };
    let _nobody_reads = print(&text);
}

/// What is running, and what to do next. The server serves whether somebody reads it or not.
pub(crate) fn summary(summary: &Summary) {
    let mut out = io::stdout().lock();
    let _nobody_reads = write_summary(&mut out, summary).and_then(|()| out.flush());
}

fn write_summary(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let Summary { application, url, routes, model, default_model, stores, loaded, took, .. } = summary;
    let (functions, cached) = loaded;
    writeln!(
        out,
        "\n{application}: {functions} functions ready in {} ms ({cached} compiled before)\n",
        took.as_millis()
    )?;
    writeln!(out, "Routes")?;
    for (route, function) in routes {
        match route {
            Some(route) => writeln!(out, "  {function:<12} {url}{route}")?,
            None => writeln!(out, "  {function:<12} private: http://{function}.spin.internal")?,
        }
    }
    writeln!(out, "Model\n  {}", describe_model(model))?;
    if let (ModelChoice::Endpoint { .. }, Some(name)) = (model, default_model) {
        writeln!(out, "  Requests that name no model ask for `{name}`; --variable model=NAME changes that")?;
    }
    writeln!(out, "Stores")?;
    for (label, place) in stores {
        writeln!(out, "  {label:<12} {place}")?;
    }
    writeln!(out, "Tenants\n  {}", describe_tenants(summary))?;
    writeln!(out, "Admin API\n  {}/admin/v1", summary.admin_url)?;
    if let Some(url) = &summary.operations_url {
        writeln!(out, "Metrics\n  {url}/metrics")?;
    }
    writeln!(out, "\nServing {url}")?;
    match (model, summary.tenants) {
        (ModelChoice::None, _) => Ok(()),
        (_, None) => writeln!(
            out,
            "Next: curl {url}/v1/responses -H 'content-type: application/json' -d '{{\"input\":\"My name is Ada.\"}}'"
        ),
        (_, Some(0)) => writeln!(out, "Next: waggle tenant add ID"),
        (_, Some(_)) => writeln!(
            out,
            "Next: curl {url}/v1/responses -H \"authorization: Bearer $API_KEY\" \
             -H 'content-type: application/json' -d '{{\"input\":\"My name is Ada.\"}}'"
        ),
    }
}

fn describe_tenants(summary: &Summary) -> String {
    match (summary.tenants, summary.is_public) {
        (None, false) => {
            "none: everybody on this machine is the tenant `default`, without a credential, until there is one".into()
        }
        (None, true) => "NONE: other machines are refused until there is one; `waggle tenant add ID` makes one, on \
                         this machine"
            .into(),
        (Some(count), _) => format!("{count}, each with credentials of its own"),
    }
}

fn describe_model(model: &ModelChoice) -> String {
    match model {
        ModelChoice::None => "none: the application declares no model".into(),
        ModelChoice::Application => "as the application's variables say".into(),
        ModelChoice::Demo => {
            "DEMO: a built-in simulation without intelligence. For a real model set OPENAI_BASE_URL \
                              and OPENAI_API_KEY, or --model-endpoint"
                .into()
        }
        ModelChoice::Upstreams(names) => format!("upstreams {}", names.join(", ")),
        ModelChoice::Endpoint { origin, path, credential } => {
            let key = if credential.is_some() { "with the key of OPENAI_API_KEY" } else { "without a key" };
            format!("{origin}{path}, {key}")
        }
    }
}
