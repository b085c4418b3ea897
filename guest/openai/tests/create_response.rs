//! What `POST /v1/responses` accepts and refuses, field by field.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waggle_openai::item::{Item, Part, Role};
use waggle_openai::request::{Continues, CreateResponse};
use waggle_openai::tool::{Mode, ToolChoice};
use waggle_openai::{ConversationId, Nonce, ResponseId};

fn refuse(body: &str, param: Option<&str>, code: Option<&str>) {
    let error = CreateResponse::read(body.as_bytes()).unwrap_err();
    assert_eq!((error.param.as_deref(), error.code), (param, code), "{body}: {error}");
    assert_eq!(error.status, 400, "{body}");
    assert!(error.message.len() < 700, "{}", error.message);
}

/// A field beside an input that is right.
fn refuse_field(field: &str, param: &str, code: &str) {
    refuse(&format!(r#"{{"input":"hi",{field}}}"#), Some(param), Some(code));
}

fn refuse_item(item: &str, code: &str) {
    let body = format!(r#"{{"input":[{{"role":"user","content":"hi"}},{item}]}}"#);
    refuse(&body, Some("input[1]"), Some(code));
}

#[test]
fn bodies_that_are_not_json_objects_are_refused() {
    for body in ["", "{", "nonsense", "{\"input\":\"hi\"}}", "{\"input\":\"\\ud83d\"}", "\u{feff}{}"] {
        assert_eq!(CreateResponse::read(body.as_bytes()).unwrap_err().status, 400, "{body}");
    }
    refuse("[]", None, None);
    refuse("null", None, None);
    refuse(&"[".repeat(100_000), None, None);
    refuse("{}", Some("input"), Some("missing_required_parameter"));
    assert_eq!(CreateResponse::read(b"{\"input\":\"\xff\"}").unwrap_err().status, 400);
    let deep = format!("{{\"input\":\"x\",\"metadata\":{}", "{\"a\":".repeat(100_000));
    assert_eq!(CreateResponse::read(deep.as_bytes()).unwrap_err().status, 400);
}

#[test]
fn every_field_of_the_wrong_type_or_range_is_named() {
    refuse_field(r#""nonsense":1"#, "nonsense", "unknown_parameter");
    refuse_field(r#""temperature":"hot""#, "temperature", "invalid_type");
    refuse_field(r#""temperature":2.01"#, "temperature", "invalid_value");
    refuse_field(r#""temperature":-0.1"#, "temperature", "invalid_value");
    refuse_field(r#""top_p":1.5"#, "top_p", "invalid_value");
    refuse_field(r#""max_output_tokens":0"#, "max_output_tokens", "invalid_value");
    refuse_field(r#""max_output_tokens":-3"#, "max_output_tokens", "invalid_value");
    refuse_field(r#""max_output_tokens":1.5"#, "max_output_tokens", "invalid_type");
    refuse_field(r#""stream":"yes""#, "stream", "invalid_type");
    refuse_field(r#""store":1"#, "store", "invalid_type");
    refuse_field(r#""model":"""#, "model", "invalid_value");
    refuse_field(r#""model":7"#, "model", "invalid_type");
    refuse_field(r#""metadata":{"a":1}"#, "metadata", "invalid_type");
    refuse_field(r#""metadata":[]"#, "metadata", "invalid_type");
    refuse_field(r#""truncation":"some""#, "truncation", "invalid_value");
    refuse_field(r#""background":true,"store":false"#, "background", "invalid_value");
    refuse_field(r#""background":1"#, "background", "invalid_type");
    refuse_field(r#""prompt":{"id":"p"}"#, "prompt", "unsupported_parameter");
    refuse_field(r#""moderation":{}"#, "moderation", "unsupported_parameter");
    refuse_field(r#""tools":[{"type":"web_search"}]"#, "tools[0]", "invalid_value");
    refuse_field(r#""tools":[{"type":"function"}]"#, "tools[0]", "missing_required_parameter");
    refuse_field(r#""tools":[{"type":"function","name":"f","parameters":[]}]"#, "tools[0]", "invalid_value");
    // What serde derives for a struct reads an array as well.
    refuse_field(r#""tools":[["function","f"]]"#, "tools[0]", "invalid_type");
    refuse_field(r#""text":[null,null]"#, "text", "invalid_type");
    refuse_field(r#""reasoning":["low"]"#, "reasoning", "invalid_type");
    refuse_field(r#""stream_options":[true]"#, "stream_options", "invalid_type");
    refuse_field(r#""conversation":["conv_1"]"#, "conversation", "invalid_type");
    refuse_field(r#""tools":{}"#, "tools", "invalid_type");
    refuse_field(r#""tool_choice":"any""#, "tool_choice", "invalid_value");
    refuse_field(r#""tool_choice":{"type":"file_search"}"#, "tool_choice", "invalid_value");
    refuse_field(r#""text":{"format":{"type":"xml"}}"#, "text.format", "invalid_value");
    refuse_field(r#""text":{"format":{"type":"json_schema"}}"#, "text.format", "invalid_value");
    refuse_field(r#""reasoning":{"effort":1}"#, "reasoning", "invalid_type");
    refuse_field(r#""reasoning":{"effort":"very"}"#, "reasoning.effort", "invalid_value");
    refuse_field(r#""reasoning":{"summary":"long"}"#, "reasoning.summary", "invalid_value");
    refuse_field(r#""text":{"verbosity":"loud"}"#, "text.verbosity", "invalid_value");
    for field in ["presence_penalty", "frequency_penalty"] {
        for (value, code) in [("2.1", "invalid_value"), ("-2.1", "invalid_value"), ("\"x\"", "invalid_type")]
        {
            refuse_field(&format!(r#""{field}":{value}"#), field, code);
        }
    }
    refuse_field(r#""top_logprobs":21"#, "top_logprobs", "invalid_value");
    refuse_field(r#""top_logprobs":-1"#, "top_logprobs", "invalid_value");
    refuse_field(r#""max_tool_calls":0"#, "max_tool_calls", "invalid_value");
    refuse_field(r#""include":"message.output_text.logprobs""#, "include", "invalid_type");
    refuse_field(r#""include":["x"]"#, "include[0]", "invalid_value");
    refuse_field(r#""include":[1]"#, "include[0]", "invalid_type");
    refuse_field(r#""stream_options":{"include_usage":true}"#, "stream_options", "unknown_parameter");
    let schema = "x".repeat(300 << 10);
    let format = format!(r#"{{"type":"json_schema","name":"n","schema":{{"description":"{schema}"}}}}"#);
    refuse_field(&format!(r#""text":{{"format":{format}}}"#), "text.format.schema", "invalid_value");
}

#[test]
fn a_choice_among_tools_names_tools_that_are_there() {
    let tool = |name: &str| format!(r#"{{"type":"function","name":"{name}"}}"#);
    let tools = format!(r#""tools":[{},{}]"#, tool("f"), tool("g"));
    let allowed = |tools: &str| format!(r#"{{"type":"allowed_tools","mode":"required","tools":[{tools}]}}"#);
    for choice in [
        tool("h"),
        allowed(&tool("h")),
        allowed(""),
        allowed(r#"{"type":"computer","name":"f"}"#),
        r#"{"type":"allowed_tools","mode":"any","tools":[]}"#.into(),
        r#"{"type":"allowed_tools"}"#.into(),
    ] {
        refuse_field(&format!(r#"{tools},"tool_choice":{choice}"#), "tool_choice", "invalid_value");
    }
    refuse_field(r#""tool_choice":"required""#, "tool_choice", "invalid_value");
    let body = format!(r#"{{"input":"hi",{tools},"tool_choice":{}}}"#, allowed(&tool("g")));
    let expected = ToolChoice::Allowed {
        mode: Mode::Required,
        tools: vec!["g".into()],
        file_search: false,
        mcp: Vec::new(),
    };
    assert_eq!(CreateResponse::read(body.as_bytes()).unwrap().parameters.tool_choice, expected);
    // The search is chosen as a function is, but that it has no name.
    let search = r#"{"type":"file_search"}"#;
    for choice in [search.into(), allowed(search), allowed(r#"{"type":"file_search","name":"f"}"#)] {
        refuse_field(&format!(r#"{tools},"tool_choice":{choice}"#), "tool_choice", "invalid_value");
    }
    refuse_field(
        &format!(r#"{tools},"tool_choice":{}"#, allowed(r#"{"type":"function"}"#)),
        "tool_choice",
        "missing_required_parameter",
    );
}

/// Whether a turn with this choice is searched for, and how its model chooses among its functions, as JSON.
fn check_search(functions: bool, choice: &str, searched: bool, of_functions: &str) {
    let function = if functions { r#"{"type":"function","name":"f"},"# } else { "" };
    let tools = format!(r#"[{function}{{"type":"file_search","vector_store_ids":["vs_1"]}}]"#);
    let body = format!(r#"{{"input":"hi","tools":{tools},"tool_choice":{choice}}}"#);
    let parameters = CreateResponse::read(body.as_bytes()).unwrap().parameters;
    assert_eq!(
        serde_json::to_string(&parameters.tool_choice).unwrap(),
        choice,
        "it is repeated as it was sent"
    );
    assert_eq!(parameters.may_search(), searched, "{choice}");
    let told = serde_json::to_string(&*parameters.choice_of_functions()).unwrap();
    assert_eq!(told, of_functions, "{choice}");
}

#[test]
fn the_search_is_a_tool_that_was_used_before_the_model_is_asked() {
    let allowed =
        |mode: &str, tools: &str| format!(r#"{{"type":"allowed_tools","mode":"{mode}","tools":[{tools}]}}"#);
    let (function, search) = (r#"{"type":"function","name":"f"}"#, r#"{"type":"file_search"}"#);
    let both = format!("{function},{search}");
    for functions in [false, true] {
        check_search(functions, r#""auto""#, true, r#""auto""#);
        check_search(functions, r#""none""#, false, r#""none""#);
        check_search(functions, r#""required""#, true, r#""auto""#);
        check_search(functions, search, true, r#""auto""#);
        check_search(functions, &allowed("required", search), true, r#""none""#);
        check_search(functions, &allowed("none", search), false, r#""none""#);
    }
    check_search(true, function, false, function);
    check_search(true, &allowed("auto", function), false, &allowed("auto", function));
    check_search(true, &allowed("required", function), false, &allowed("required", function));
    check_search(true, &allowed("required", &both), true, &allowed("auto", function));
    check_search(true, &allowed("auto", &both), true, &allowed("auto", function));
}

#[test]
fn references_are_told_from_items_and_keep_their_place() {
    let body =
        r#"{"input":[{"id":"msg_1"},{"role":"user","content":"x"},{"type":"item_reference","id":"rs_2"}]}"#;
    let request = CreateResponse::read(body.as_bytes()).unwrap();
    assert_eq!(request.input.len(), 1);
    let references: Vec<(&str, usize)> =
        request.references.iter().map(|reference| (&*reference.id, reference.place)).collect();
    assert_eq!(references, [("msg_1", 0), ("rs_2", 2)]);
    assert_eq!(request.references[1].not_found().param.as_deref(), Some("input[2]"));
}

#[test]
fn every_wrong_item_is_named_by_its_place() {
    refuse(r#"{"input":3}"#, Some("input"), Some("invalid_type"));
    refuse(r#"{"input":null}"#, Some("input"), Some("invalid_type"));
    refuse(r#"{"input":[]}"#, Some("input"), Some("empty_array"));
    refuse_item("3", "invalid_type");
    refuse_item(r#"{"content":"x"}"#, "missing_required_parameter");
    refuse_item(r#"{"role":"user"}"#, "missing_required_parameter");
    refuse_item(r#"{"role":"robot","content":"x"}"#, "invalid_value");
    refuse_item(r#"{"role":"user","content":7}"#, "invalid_type");
    refuse_item(r#"{"role":"user","content":"x","extra":1}"#, "unknown_parameter");
    refuse_item(r#"{"role":"user","content":[{"type":"input_image","image_url":"u"}]}"#, "invalid_value");
    refuse_item(r#"{"role":"user","content":[{"type":"input_audio"}]}"#, "invalid_value");
    refuse_item(r#"{"role":"user","content":[{"type":"input_text"}]}"#, "missing_required_parameter");
    refuse_item(r#"{"role":"user","content":[{"type":"input_image"}]}"#, "missing_required_parameter");
    refuse_item(r#"{"role":"user","content":[{"type":"input_image","file_id":"f"}]}"#, "invalid_value");
    refuse_item(
        r#"{"role":"user","content":[{"type":"input_image","image_url":"data:,","detail":"huge"}]}"#,
        "invalid_value",
    );
    refuse_item(r#"{"role":"user","content":[{"type":"input_file","file_id":"f"}]}"#, "invalid_value");
    refuse_item(
        r#"{"role":"user","content":[{"type":"input_file","file_url":"file:///x"}]}"#,
        "invalid_value",
    );
    refuse_item(r#"{"role":"user","content":[{"type":"input_file"}]}"#, "missing_required_parameter");
    refuse_item(r#"{"role":"user","content":[{"type":"reasoning_text","text":"x"}]}"#, "invalid_value");
    let image = r#"{"type":"input_image","image_url":"data:,"}"#;
    for role in ["assistant", "system", "developer"] {
        refuse_item(&format!(r#"{{"role":"{role}","content":[{image}]}}"#), "invalid_value");
    }
    refuse_item(r#"{"role":"assistant","content":"x","phase":"thinking"}"#, "invalid_value");
    refuse_item(r#"{"type":"reasoning"}"#, "missing_required_parameter");
    refuse_item(r#"{"type":"reasoning","summary":[{"type":"input_text","text":"x"}]}"#, "invalid_value");
    refuse_item(&format!(r#"{{"type":"reasoning","summary":[],"content":[{image}]}}"#), "invalid_value");
    refuse_item(r#"{"type":"compaction"}"#, "missing_required_parameter");
    refuse_item(r#"{"type":"item_reference"}"#, "missing_required_parameter");
    refuse_item(r#"{"type":"computer_call","id":"x"}"#, "invalid_value");
    refuse_item(r#"{"type":"web_search_call","id":"x","status":{}}"#, "invalid_value");
    refuse_item(r#"{"type":"function_call_output","call_id":"c","output":{"a":1}}"#, "invalid_type");
    refuse_item(r#"{"type":"function_call","name":"f","arguments":"{}"}"#, "missing_required_parameter");
    refuse_item(r#"{"type":"function_call_output","call_id":"","output":"o"}"#, "invalid_value");
    let many = vec![r#"{"role":"user","content":"x"}"#; 901].join(",");
    refuse(&format!(r#"{{"input":[{many}]}}"#), Some("input"), Some("invalid_value"));
}

#[test]
fn what_a_turn_continues_is_one_thing_and_well_formed() {
    let nonce = Nonce::mint(1, 2);
    let (response, conversation) = (ResponseId(nonce), ConversationId(nonce));
    let both = format!(r#""conversation":"{conversation}","previous_response_id":"{response}""#);
    refuse_field(&both, "previous_response_id", "mutually_exclusive_parameters");
    for id in ["", "resp_x", "\\u0000", "../..", &"r".repeat(10_000)] {
        let field = format!(r#""previous_response_id":"{id}""#);
        refuse_field(&field, "previous_response_id", "previous_response_not_found");
        let body = format!(r#"{{"input":"hi","conversation":{{"id":"{id}"}}}}"#);
        assert_eq!(CreateResponse::read(body.as_bytes()).unwrap_err().status, 404, "{id}");
    }
    for (field, expected) in [
        ("\"user\":\"u\"".to_owned(), Continues::Nothing),
        ("\"conversation\":null,\"previous_response_id\":null".to_owned(), Continues::Nothing),
        (format!("\"conversation\":\"{conversation}\""), Continues::Conversation(conversation)),
        (format!("\"conversation\":{{\"id\":\"{conversation}\"}}"), Continues::Conversation(conversation)),
        (format!("\"previous_response_id\":\"{response}\""), Continues::Response(response)),
    ] {
        let body = format!(r#"{{"input":"hi",{field}}}"#);
        assert_eq!(CreateResponse::read(body.as_bytes()).unwrap().continues, expected, "{field}");
    }
}

#[test]
fn a_full_request_is_read() {
    let body = r#"{"model":"m","input":[{"role":"developer","content":[{"type":"input_text","text":"a"},
        {"type":"input_text","text":"b"}]},{"type":"function_call_output","call_id":"c","output":"o"}],
        "instructions":"be kind","metadata":{"k":"v"},"temperature":0,"top_p":1,"max_output_tokens":5,"user":"u",
        "tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],
        "tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":false,"reasoning":{"effort":"low"},
        "text":{"format":{"type":"text"},"verbosity":"low"},"truncation":"auto","store":false,"stream":true,
        "include":["reasoning.encrypted_content"],"background":false}"#;
    let request = CreateResponse::read(body.as_bytes()).unwrap();
    let expected = vec![
        Item::Message { role: Role::Developer, parts: vec![Part::text("a"), Part::text("b")], phase: None },
        Item::FunctionCallOutput { call_id: "c".into(), output: "o".into() },
    ];
    assert_eq!(request.input, expected);
    assert!(request.stream && !request.parameters.store);
    assert_eq!(request.parameters.tool_choice, ToolChoice::Function("f".into()));
    assert_eq!(request.parameters.tools[0].name, "f");
}

#[test]
fn a_whole_number_may_be_written_with_a_fraction() {
    let body = br#"{"input":"hi","max_output_tokens":778.0,"top_logprobs":2.0,"max_tool_calls":1e1}"#;
    let parameters = CreateResponse::read(body).unwrap().parameters;
    let read = (parameters.max_output_tokens, parameters.top_logprobs, parameters.max_tool_calls);
    assert_eq!(read, (Some(778), Some(2), Some(10)));
}

#[test]
fn null_stands_for_a_field_that_was_left_out() {
    let fields = [
        "model",
        "instructions",
        "metadata",
        "temperature",
        "top_p",
        "max_output_tokens",
        "user",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
        "truncation",
        "store",
        "stream",
        "service_tier",
        "prompt",
        "background",
        "include",
    ];
    let nulls: Vec<String> = fields.iter().map(|field| format!(r#""{field}":null"#)).collect();
    let body = format!(r#"{{"input":"hi",{}}}"#, nulls.join(","));
    let request = CreateResponse::read(body.as_bytes()).unwrap();
    assert!(request.parameters.store && !request.stream);
}
