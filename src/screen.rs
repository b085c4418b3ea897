//! What the program writes for people: the start-up screen, the progress of builds, errors.

#![expect(clippy::print_stdout, reason = "the command line is where Waggle talks to people")]

use anyhow::Error;
use std::io::{IsTerminal as _, Write as _};
use waggle_application::{BuildEvent, ModelChoice, StartError, Summary};
use waggle_manifest::Diagnostic;

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

/// A warning about a file, on standard error.
pub(crate) fn warning(diagnostic: &Diagnostic) {
    let mut out = std::io::stderr().lock();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = writeln!(out, "{}", diagnostic.render(colour).trim_end());
}

/// The progress of a build.
pub(crate) fn build_event(event: &BuildEvent<'_>) {
    match event {
        BuildEvent::AddingTarget(target) => {
            println!("The Rust target {target} is missing; adding it with `rustup target add {target}`");
        }
        BuildEvent::Begins { component, command, step: (number, count) } => {
            println!("Building {component} ({number}/{count}): {command}");
        }
        BuildEvent::Ended { component, took } => {
            println!("Built {component} in {:.1} s", took.as_secs_f64());
        }
    }
}

/// What is running, and what to do next.
pub(crate) fn summary(summary: &Summary) {
    let Summary { application, url, routes, model, default_model, stores, loaded, took, .. } = summary;
    let (functions, cached) = loaded;
    println!(
        "\n{application}: {functions} functions ready in {} ms ({cached} compiled before)\n",
        took.as_millis()
    );
    println!("Routes");
    for (route, function) in routes {
        match route {
            Some(route) => println!("  {function:<12} {url}{route}"),
            None => println!("  {function:<12} private: http://{function}.spin.internal"),
        }
    }
    println!("Model\n  {}", describe_model(model));
    if let (ModelChoice::Endpoint { .. }, Some(name)) = (model, default_model) {
        println!("  Requests that name no model ask for `{name}`; --variable model=NAME changes that");
    }
    println!("Stores");
    for (label, place) in stores {
        println!("  {label:<12} {place}");
    }
    println!("Tenants\n  {}", describe_tenants(summary));
    println!("Admin API\n  {}/admin/v1", summary.admin_url);
    println!("\nServing {url}");
    match (model, summary.tenants) {
        (ModelChoice::None, _) => {}
        (_, None) => println!(
            "Next: curl {url}/v1/responses -H 'content-type: application/json' -d '{{\"input\":\"My name is Ada.\"}}'"
        ),
        (_, Some(0)) => println!("Next: waggle tenant add ID"),
        (_, Some(_)) => println!(
            "Next: curl {url}/v1/responses -H \"authorization: Bearer $API_KEY\" \
             -H 'content-type: application/json' -d '{{\"input\":\"My name is Ada.\"}}'"
        ),
    }
    let _ = std::io::stdout().flush();
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
