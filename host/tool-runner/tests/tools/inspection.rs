//! What the runner says of a component before anybody has accepted it.

use crate::support::{guest, runner};
use bytes::Bytes;
use serde_json::{Value, json};
use waggle_tool_runner::{ComponentError, Runner, RunnerConfig, Style};

#[tokio::test]
async fn a_tool_says_what_it_can_do_and_its_imports_what_it_would_reach() {
    let inspected = runner().inspect(guest("tool_orders")).await.unwrap();
    assert_eq!(inspected.style, Style::Tool);
    assert_eq!(inspected.digest, waggle_tool_runner::digest(&guest("tool_orders")));
    let names: Vec<_> = inspected.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["find_order", "cancel_order", "count", "track"]);
    let cancel = &inspected.functions[1];
    assert!(cancel.side_effects && cancel.idempotent && cancel.needs_approval);
    assert!(inspected.functions[0].output.is_some());
    assert!(inspected.asks_outbound && inspected.asks_key_value);
    assert!(inspected.imports.iter().any(|import| import.starts_with("wasi:http/outgoing-handler@0.2")));
}

#[tokio::test]
async fn a_plain_component_is_read_by_its_types() {
    let inspected = runner().inspect(guest("tool_plain")).await.unwrap();
    assert_eq!(inspected.style, Style::Plain);
    let mut names: Vec<_> = inspected.functions.iter().map(|function| function.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["bytes", "echo", "fails", "greet", "initial", "many", "not-a-number", "nothing", "swap", "total"]
    );
    let total = inspected.functions.iter().find(|function| function.name == "total").unwrap();
    let parameters: Value = serde_json::from_str(total.parameters.get()).unwrap();
    assert_eq!(parameters["properties"]["order"]["properties"]["size"]["enum"], json!(["small", "large"]));
    let output: Value = serde_json::from_str(total.output.as_ref().unwrap().get()).unwrap();
    assert_eq!(output, json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}));
    assert!(!total.side_effects && total.idempotent, "it can reach nothing");
    let left_out: Vec<_> = inspected.left_out.iter().map(ToString::to_string).collect();
    assert!(
        left_out.iter().any(|line| line.contains("shop@0.1.0.fill: it takes a resource")),
        "{left_out:?}"
    );
}

#[tokio::test]
async fn a_component_without_anything_usable_is_told_what_it_exports_and_what_was_expected() {
    let error = runner().inspect(guest("tool_nothing")).await.unwrap_err().to_string();
    assert!(error.contains("expected the interface waggle:tool/tool@0.1.x"), "{error}");
    assert!(error.contains("sessions@0.1.0.end` (it takes a resource)"), "{error}");
}

#[tokio::test]
async fn every_import_that_no_tool_is_given_is_named() {
    let wasm = wat::parse_str(
        r#"(component
            (import "acme:billing/invoices@1.0.0" (instance (export "send" (func))))
            (import "print" (func))
            (import "wasi:cli/exit@0.2.0" (instance))
        )"#,
    )
    .unwrap();
    let error = runner().inspect(wasm.into()).await.unwrap_err();
    let ComponentError::Imports { imports } = &error else { panic!("{error}") };
    assert_eq!(imports, &["acme:billing/invoices@1.0.0", "print"]);
}

#[tokio::test]
async fn what_is_no_component_is_refused_before_it_is_compiled() {
    let check = async |bytes: &'static [u8], expected: &str| {
        let error = runner().inspect(Bytes::from_static(bytes)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(b"", "it has only 0 bytes").await;
    check(b"PK\x03\x04 and more", "is not WebAssembly").await;
    check(b"\0asm\x01\0\0\0", "is a core WebAssembly module").await;
    check(b"\0asm\x0d\0\x01\0 nonsense", "does not compile").await;
}

#[tokio::test]
async fn code_that_was_kept_is_used_by_the_next_runner() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("compiled");
    let first = Runner::new(RunnerConfig::default(), Some(kept.clone())).unwrap();
    let digest = first.prepare(guest("tool_plain")).await.unwrap().digest().to_owned();
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    assert!(first.prepared(&digest).is_some());
    first.forget(&digest);
    assert!(first.prepared(&digest).is_none());
    let second = Runner::new(RunnerConfig::default(), Some(kept.clone())).unwrap();
    second.prepare(guest("tool_plain")).await.unwrap();
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1, "nothing was compiled anew");
}
