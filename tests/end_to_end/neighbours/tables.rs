//! Tables grown to their limit and one past it, and more tables and memories than an instance should have. Rust cannot
//! say either, so these components are written by hand: the status of the answer tells whether the table grew.

use super::HOSTILE;
use super::tenants::{Caller, GOOD, Good, check_sound, with_tenants};
use crate::support::{Function, Setup, root};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Elements a table may have, as the test configures it.
const ELEMENTS_MAX: u32 = 5_000;

/// A core module that grows its table by `more` from 1 and answers 200 if it may, else 507; `fills_for_ever`, it then
/// fills the table again and again and never answers.
fn module(more: u32, fills_for_ever: bool) -> String {
    let fill = if fills_for_ever {
        "(loop (table.fill (i32.const 0) (ref.null func) (table.size)) (br 0))"
    } else {
        ""
    };
    format!(
        r#"(module
  (import "wasi:http/types@0.2.6" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.6" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.6" "[method]outgoing-response.set-status-code"
    (func $set_status (param i32 i32) (result i32)))
  (import "wasi:http/types@0.2.6" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "wasi:http/incoming-handler@0.2.6#handle") (param $request i32) (param $out i32)
    (local $made i32) (local $status i32)
    (local.set $status
      (if (result i32) (i32.eq (table.grow (ref.null func) (i32.const {more})) (i32.const -1))
        (then (i32.const 507))
        (else (i32.const 200))))
    {fill}
    (local.set $made (call $response (call $fields)))
    (drop (call $set_status (local.get $made) (local.get $status)))
    (call $set (local.get $out) (i32.const 0) (local.get $made)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"#
    )
}

fn component(module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (waggle, _sources) = resolve.push_dir(root().join("wit")).unwrap();
    let world = resolve.select_world(&[waggle], Some("function-p2")).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn written(folder: &Path, name: &str, module: &str) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, component(module)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_grows_to_its_limit_and_not_one_past() {
    let folder = tempfile::tempdir().unwrap();
    let function = |name: &str, module: &str| Function::component(name, written(folder.path(), name, module));
    let stored = "key_value_stores = [\"default\"]";
    let functions = [
        function("to-the-limit", &module(ELEMENTS_MAX - 1, false)),
        function("one-past", &module(ELEMENTS_MAX, false)),
        function("by-far", &module(u32::MAX - 1, false)),
        function("filled-for-ever", &module(ELEMENTS_MAX - 1, true)),
        Function::guest("kv-probe").with(stored),
        Function::hello(),
    ];
    let config =
        format!("[engine]\ninstance_table_elements_max = {ELEMENTS_MAX}\nrequest_cpu_ms_max = 10000\n");
    let setup = Setup::functions(&functions).runtime_config(&config);
    let server = with_tenants(setup, [(GOOD, ""), (HOSTILE, super::SHORT)]).start();
    let (good, hostile) = (Good::watch(&server).await, Caller::new(&server, HOSTILE));
    for _ in 0..3 {
        for (path, expected) in [
            ("/to-the-limit/", "200 "),
            ("/one-past/", "507 "),
            ("/by-far/", "507 "),
            ("/filled-for-ever/", "500 function_cpu_time"),
        ] {
            assert_eq!(hostile.outcome(path, &[]).await, expected, "{path}\n{}", super::tail(&server));
        }
    }
    good.check_unharmed("tables").await;
    check_sound(&server, "tables").await;
}

/// A core module whose handler never returns.
const NEVER_RETURNS: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "wasi:http/incoming-handler@0.2.6#handle") (param i32) (param i32) (loop (br 0))))"#;

/// The component with so many more core instances of `module`, which it has no use for. Its sections stand one after the
/// other (a byte that says which, then the length), so more of them can simply be put behind.
fn with_more_instances(mut component: Vec<u8>, module: &str, count: u8) -> Vec<u8> {
    const PREAMBLE_BYTES: usize = 8;
    const CORE_MODULE: u8 = 1;
    const CORE_INSTANCE: u8 = 2;
    let (mut at, mut modules) = (PREAMBLE_BYTES, 0_u8);
    while at < component.len() {
        modules += u8::from(component[at] == CORE_MODULE);
        let (length, bytes) = read_length(&component[at + 1..]);
        at += 1 + bytes + length;
    }
    let module = wat::parse_str(module).unwrap();
    component.push(CORE_MODULE);
    component.extend(length(module.len()));
    component.extend(module);
    let instances: Vec<u8> = (0..count).flat_map(|_| [0, modules, 0]).collect();
    component.push(CORE_INSTANCE);
    component.extend(length(instances.len() + 1));
    component.push(count);
    component.extend(instances);
    component
}

/// A number in LEB128, and how many bytes it takes.
fn read_length(bytes: &[u8]) -> (usize, usize) {
    let taken = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..taken].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, taken)
}

/// A number in LEB128.
fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_many_parts_take_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let stored = "key_value_stores = [\"default\"]";
    let parts = [
        ("many-memories", "(module (memory 1))", 20),
        ("many-tables", "(module (table 1 funcref))", 60),
        ("many-instances", "(module)", 60),
    ];
    for (name, module, count) in parts {
        let path = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&path, with_more_instances(component(NEVER_RETURNS), module, count)).unwrap();
        let functions =
            [Function::component(name, path), Function::guest("kv-probe").with(stored), Function::hello()];
        let newcomers: Vec<String> = (0..8).map(|number| format!("newcomer-{number}")).collect();
        let lines = "limits.request_cpu_ms_max = 3000\nlimits.instances_max = 5";
        let mut tenants = vec![(GOOD, ""), (HOSTILE, lines)];
        tenants.extend(newcomers.iter().map(|name| (&**name, "")));
        let config = "[engine]\ninstances_max = 20\nrequest_cpu_ms_max = 10000\n";
        let setup = with_tenants(Setup::functions(&functions).runtime_config(config), tenants);
        // Not to take such a component at all is as good, if the function is named.
        if let Some(refusal) = refusal(&setup) {
            assert!(refusal.contains(name), "{refusal}");
            continue;
        }
        let server = setup.start();
        let hostile = Caller::new(&server, HOSTILE);
        let path = format!("/{name}/");
        let held = tokio::spawn(async move {
            futures::future::join_all((0..5).map(|_| hostile.outcome(&path, &[]))).await
        });
        let good = Good::watch(&server).await;
        for newcomer in &newcomers {
            let outcome = Caller::new(&server, newcomer).outcome("/hello", &[]).await;
            assert_eq!(outcome, "200 hello\n", "{newcomer} beside {name}\n{}", super::tail(&server));
        }
        held.await.unwrap();
        good.check_unharmed(name).await;
        check_sound(&server, name).await;
    }
}

/// What the program says when it refuses to start; none when it serves.
fn refusal(setup: &Setup) -> Option<String> {
    let piped = std::process::Stdio::piped;
    let mut child = setup.command().stdout(piped()).stderr(piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let serves = lines.map_while(Result::ok).any(|line| line.starts_with("Serving "));
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (!serves).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
