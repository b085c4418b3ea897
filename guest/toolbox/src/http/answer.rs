//! What an HTTP tool's server answered, as the outcome of a call.

use crate::clean::cut;
use crate::fetch::Fetched;
use crate::outcome::{Again, Done, Fault, Outcome};
use encoding_rs::{Encoding, UTF_8};
use waggle_tool::wire::CallError;

/// How much of a refusal's body a model is shown, in bytes.
const REFUSAL_BYTES_MAX: usize = 2 << 10;

/// What the answer means.
pub(super) fn read(answer: &Fetched) -> Outcome {
    match answer.status {
        204 | 205 => Ok(Done::of(format!("Done: the server answered {}, without content.", answer.status))),
        200..300 => text(answer).map(Done::of),
        300..400 => {
            let to = answer.header("location").map(|location| format!(" to '{}'", cut(location, 200)));
            let told = format!(
                "The server answered {} and wants to redirect{}; redirects are not followed.",
                answer.status,
                to.unwrap_or_default()
            );
            Err(Fault::new(CallError::Failed, told))
        }
        status => Err(refusal(status, answer)),
    }
}

fn refusal(status: u16, answer: &Fetched) -> Fault {
    let said = text(answer).unwrap_or_default();
    let said = said.trim();
    let said = if said.is_empty() { ".".to_owned() } else { format!(": {}", cut(said, REFUSAL_BYTES_MAX)) };
    let told = format!("The server answered {status}{said}");
    let again = answer.retry_after_ms().map_or(Again::Later, Again::After);
    match status {
        408 | 425 | 429 | 503 => Fault { again, ..Fault::new(CallError::Unavailable, told) },
        // What went wrong behind the server's back may have gone right before.
        500.. => Fault { again, may_have_happened: true, ..Fault::new(CallError::Failed, told) },
        _ => Fault::new(CallError::Failed, told),
    }
}

/// The body as text: JSON, or what says that it is text.
fn text(answer: &Fetched) -> Result<String, Fault> {
    let content_type = answer.header("content-type").unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    if answer.body.is_empty() {
        return Ok(String::new());
    }
    if !is_text(&essence) {
        let told = format!("The server answered with '{}', which is no text.", cut(&essence, 100));
        return Err(Fault::new(CallError::InvalidOutput, told));
    }
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    let encoding = match charset {
        None => UTF_8,
        Some(label) => Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            let told = format!(
                "The server answered in the character set '{}', which is not known.",
                cut(&label, 100)
            );
            Fault::new(CallError::InvalidOutput, told)
        })?,
    };
    Ok(encoding.decode(&answer.body).0.into_owned())
}

fn is_text(essence: &str) -> bool {
    essence.is_empty()
        || essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/json"
                | "application/xml"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/yaml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Fetched {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Fetched { status, headers: headers.collect(), body: body.to_vec() }
    }

    fn check(status: u16, headers: &[(&str, &str)], body: &[u8], expected: Result<&str, (CallError, &str)>) {
        let read = read(&answer(status, headers, body));
        let read = read
            .as_ref()
            .map(|done| done.output.as_str())
            .map_err(|fault| (fault.error, fault.text.as_str()));
        assert_eq!(read, expected);
    }

    #[test]
    fn text_is_read_in_its_character_set() {
        check(200, &[("content-type", "application/json")], b"{\"a\":1}", Ok("{\"a\":1}"));
        check(201, &[("content-type", "text/plain; charset=\"ISO-8859-1\"")], b"caf\xe9", Ok("café"));
        check(200, &[("content-type", "text/html;charset=gb18030")], b"\xc4\xe3\xba\xc3", Ok("你好"));
        check(200, &[("content-type", "application/problem+json")], b"{}", Ok("{}"));
        check(200, &[], b"plain", Ok("plain"));
        check(200, &[("content-type", "image/png")], b"", Ok(""));
        check(204, &[], b"", Ok("Done: the server answered 204, without content."));
        let png = "The server answered with 'image/png', which is no text.";
        check(200, &[("content-type", "Image/PNG")], b"\x89PNG", Err((CallError::InvalidOutput, png)));
        let odd = "The server answered in the character set 'klingon', which is not known.";
        check(
            200,
            &[("content-type", "text/plain; charset=klingon")],
            b"x",
            Err((CallError::InvalidOutput, odd)),
        );
    }

    #[test]
    fn refusals_say_what_the_server_said() {
        check(
            404,
            &[],
            b"no such order\n",
            Err((CallError::Failed, "The server answered 404: no such order")),
        );
        check(401, &[], b"", Err((CallError::Failed, "The server answered 401.")));
        check(
            500,
            &[("content-type", "image/png")],
            b"x",
            Err((CallError::Failed, "The server answered 500.")),
        );
        let redirect = "The server answered 302 and wants to redirect to 'http://10.0.0.1/'; redirects are not followed.";
        check(302, &[("location", "http://10.0.0.1/")], b"", Err((CallError::Failed, redirect)));
        let long = read(&answer(400, &[], &[b'x'; 100_000])).unwrap_err();
        assert!(long.text.len() < 3_000 && long.again == Again::Never);
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let again = |status, headers: &[(&str, &str)]| read(&answer(status, headers, b"")).unwrap_err().again;
        assert_eq!(again(429, &[("retry-after", "3")]), Again::After(3_000));
        assert_eq!(again(503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), Again::Later);
        assert_eq!(again(502, &[]), Again::Later);
        assert_eq!(again(422, &[]), Again::Never);
        assert_eq!(again(301, &[]), Again::Never);
    }
}
