//! What a tool gave, as text.

use serde_json::Value;

fn member<'a>(block: &'a Value, name: &str) -> Option<&'a str> {
    block.get(name).and_then(Value::as_str)
}

/// The blocks of a result as text, one after another. A block that is no text is named with its media type and length:
/// a model that sees only text can say that there is one.
pub(super) fn text(blocks: &[Value]) -> String {
    let texts: Vec<String> = blocks.iter().map(block_text).collect();
    texts.join("\n")
}

fn block_text(block: &Value) -> String {
    match member(block, "type") {
        Some("text") => member(block, "text").unwrap_or_default().to_owned(),
        Some(kind @ ("image" | "audio")) => left_out(kind, block, member(block, "data")),
        Some("resource_link") => {
            let uri = member(block, "uri").unwrap_or_default();
            match member(block, "title").or(member(block, "name")) {
                Some(name) => format!("[{name}: {uri}]"),
                None => format!("[{uri}]"),
            }
        }
        Some("resource") => {
            let resource = block.get("resource").unwrap_or(block);
            match member(resource, "text") {
                Some(text) => text.to_owned(),
                None => left_out("resource", resource, member(resource, "blob")),
            }
        }
        Some(other) => format!("[content of the unknown type '{other:.50}' is left out]"),
        None => "[content without a type is left out]".to_owned(),
    }
}

/// In place of bytes. They came in base64: three for each four characters.
fn left_out(kind: &str, block: &Value, data: Option<&str>) -> String {
    let media_type = member(block, "mimeType").unwrap_or("application/octet-stream");
    let bytes = data.map_or(0, |data| data.len() / 4 * 3);
    format!("[{kind} of type {media_type:.100}, about {bytes} bytes, is left out]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_text_is_named() {
        let check = |block: Value, expected: &str| assert_eq!(text(&[block]), expected);
        check(json!({"type": "text", "text": "a"}), "a");
        check(json!({"type": "text"}), "");
        check(
            json!({"type": "image", "data": "AAAA", "mimeType": "image/png"}),
            "[image of type image/png, about 3 bytes, is left out]",
        );
        check(json!({"type": "resource_link", "uri": "file:///a", "name": "a"}), "[a: file:///a]");
        check(json!({"type": "resource", "resource": {"uri": "x:a", "text": "b"}}), "b");
        check(
            json!({"type": "resource", "resource": {"uri": "x:a", "blob": "AAAAAAAA"}}),
            "[resource of type application/octet-stream, about 6 bytes, is left out]",
        );
        check(json!({"type": "hologram"}), "[content of the unknown type 'hologram' is left out]");
        check(json!(7), "[content without a type is left out]");
    }
}
