//! Tools: the bindings of a component that exports `waggle:tool`, and what such guests share.

pub mod bindings {
    spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:guests-tool@0.1.0;
            world guest-tool {
                import wasi:http/types@0.2.6;
                import wasi:http/outgoing-handler@0.2.6;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                export waggle:tool/tool@0.1.0;
            }
        ",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        path: "../../wit",
        world: "waggle:guests-tool/guest-tool@0.1.0",
        pub_export_macro: true,
        default_bindings_module: "guests::tool::bindings",
        generate_all,
    });
}

pub use bindings::exports::waggle::tool::tool::{Definition, Error, Guest, Invocation};
pub use bindings::wasi::keyvalue::{atomics, store};

use bindings::wasi::http0_2_6::outgoing_handler;
use bindings::wasi::http0_2_6::types::{ErrorCode, Fields, Method, OutgoingRequest, Scheme};

/// Makes two functions, `fn() -> Vec<Definition>` and `fn(Invocation) -> Result<String, Error>`, the component's tool.
#[macro_export]
macro_rules! serve_tool {
    ($describe:path, $call:path) => {
        struct Tool;

        impl $crate::tool::Guest for Tool {
            fn describe() -> Vec<$crate::tool::Definition> {
                $describe()
            }

            fn call(invocation: $crate::tool::Invocation) -> Result<String, $crate::tool::Error> {
                $call(invocation)
            }
        }

        $crate::tool::bindings::export!(Tool);
    };
}

/// A function that takes one text, `text`, changes nothing and asks for nothing.
pub fn definition(name: &str, description: &str) -> Definition {
    Definition {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: r#"{"type":"object","properties":{"text":{"type":"string"}}}"#.to_owned(),
        output: None,
        side_effects: false,
        idempotent: false,
        needs_approval: false,
    }
}

/// The value of a member that is a plain string, without escapes; for tests that is JSON enough.
pub fn argument(invocation: &Invocation, name: &str) -> Option<String> {
    let (_before, after) = invocation.arguments.split_once(&format!("\"{name}\":"))?;
    let value = after.trim_start().strip_prefix('"')?;
    value.split('"').next().map(str::to_owned)
}

/// Calls `http://AUTHORITY/PATH` with GET and tells the status.
pub fn fetch(authority: &str, path: &str) -> Result<u16, ErrorCode> {
    let fields = Fields::from_list(&[("waggle-tool".to_owned(), b"another".to_vec())]);
    let request = OutgoingRequest::new(fields.map_err(|_refused| ErrorCode::HttpProtocolError)?);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_method(&Method::Get).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let sent = outgoing_handler::handle(request, None)?;
    sent.subscribe().block();
    let response = sent.get().expect("it is ready").expect("it is taken once")?;
    Ok(response.status())
}
