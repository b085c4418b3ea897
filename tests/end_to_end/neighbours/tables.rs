//! Tables grown to their limit and one past it. Rust cannot grow a table, so these components are written by hand: the
//! status of the answer tells whether the table grew.

use super::HOSTILE;
use super::tenants::{Caller, GOOD, Good, check_sound, with_tenants};
use crate::support::{Function, Setup, root};
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Elements a table may have, as the test configures it.
const ELEMENTS_MAX: u32 = 5_000;

/// A core module that grows its table by `more` from 1 and answers 200 if it may, else 507; `turns` times in a row, it
/// first fills the whole table, or for ever where that is none.
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
