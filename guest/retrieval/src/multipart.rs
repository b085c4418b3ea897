//! Reading `multipart/form-data` (RFC 7578) as it arrives. Pure: bytes go in, events come out, and no more is held than the
//! head of a part, a short field, or as many bytes as a boundary has.

use memchr::memmem::Finder;
use waggle_openai::ApiError;

/// The longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The longest value of a field that is no file, in bytes.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// The most parts.
const PARTS_MAX: usize = 32;
/// The longest boundary, in bytes: RFC 2046's bound.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What a form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A field that is no file.
    Field { name: String, value: String },
    /// A file begins.
    File { name: String, filename: String, media_type: Option<String> },
    /// Some of its bytes.
    Bytes(Vec<u8>),
}

/// Where the reader stands.
#[derive(Debug)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary: the end of its line, or two hyphens.
    Boundary,
    /// In the head of a part.
    Head,
    /// In a field.
    Field { name: String, value: Vec<u8> },
    /// In a file.
    File,
    /// Behind the last boundary.
    End,
}

/// A form that is being read.
#[derive(Debug)]
pub(crate) struct Form {
    delimiter: Finder<'static>,
    buffer: Vec<u8>,
    state: State,
    parts: usize,
}

fn malformed(what: &str) -> ApiError {
    ApiError {
        code: Some("invalid_multipart"),
        ..ApiError::invalid(format!("The form is malformed: {what}."))
    }
}

/// The boundary that a content type names.
///
/// # Errors
/// 415: it is no form; 400: it names no boundary.
fn boundary(content_type: Option<&str>) -> Result<String, ApiError> {
    let content_type = content_type.unwrap_or_default();
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        let message = "Send the file as a form, with 'Content-Type: multipart/form-data; boundary=…'.";
        let error = ApiError::invalid(message);
        return Err(ApiError { status: 415, code: Some("unsupported_media_type"), ..error });
    }
    let boundary = parameter(parameters, "boundary").filter(|boundary| {
        (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
            && boundary.bytes().all(|byte| !byte.is_ascii_control())
    });
    boundary.ok_or_else(|| malformed("its content type names no boundary"))
}

/// The value of a parameter of a header field: `name=value` or `name="value"`, separated by semicolons.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// A quoted string behind its first quote, and what comes after it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(place + 1..)?)),
            // A name of a file on Windows may hold a backslash that escapes nothing.
            '\\' if text.get(place + 1..).is_some_and(|rest| rest.starts_with(['"', '\\'])) => {
                value.push(characters.next()?.1);
            }
            _ => value.push(character),
        }
    }
    None
}

impl Form {
    /// A form whose request has this content type.
    ///
    /// # Errors
    /// 415: it is no form; 400: there is no boundary.
    pub(crate) fn new(content_type: Option<&str>) -> Result<Self, ApiError> {
        let delimiter = format!("\r\n--{}", boundary(content_type)?);
        // The first boundary may be the very beginning.
        let buffer = b"\r\n".to_vec();
        let delimiter = Finder::new(delimiter.as_bytes()).into_owned();
        Ok(Self { delimiter, buffer, state: State::Preamble, parts: 0 })
    }

    /// Reads on.
    ///
    /// # Errors
    /// 400: it is no form, or against a bound.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ApiError> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while self.advance(&mut events)? {}
        Ok(events)
    }

    /// Says that there is nothing more.
    ///
    /// # Errors
    /// 400: the form has not ended.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.state {
            State::End => Ok(()),
            _ => Err(malformed("it ends before its last boundary")),
        }
    }

    /// Does one step; `false` when that needs more bytes.
    fn advance(&mut self, events: &mut Vec<Event>) -> Result<bool, ApiError> {
        match self.state {
            State::Preamble => {
                let (_, found) = self.up_to_delimiter();
                if found {
                    self.state = State::Boundary;
                }
                Ok(found)
            }
            State::Boundary => self.boundary_line(),
            State::Head => self.head(events),
            State::File => {
                let (bytes, found) = self.up_to_delimiter();
                if !bytes.is_empty() {
                    events.push(Event::Bytes(bytes));
                }
                if found {
                    self.state = State::Boundary;
                }
                Ok(found)
            }
            State::Field { .. } => self.field(events),
            State::End => {
                // What follows the last boundary means nothing.
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    /// Takes what stands before the next delimiter out of the buffer, and the delimiter with it; without one, all that is
    /// certainly before it.
    fn up_to_delimiter(&mut self) -> (Vec<u8>, bool) {
        match self.delimiter.find(&self.buffer) {
            Some(place) => {
                let rest = self.buffer.split_off(place + self.delimiter.needle().len());
                let mut bytes = std::mem::replace(&mut self.buffer, rest);
                bytes.truncate(place);
                (bytes, true)
            }
            None => {
                let kept = self.delimiter.needle().len() - 1;
                let certain = self.buffer.len().saturating_sub(kept);
                let rest = self.buffer.split_off(certain);
                (std::mem::replace(&mut self.buffer, rest), false)
            }
        }
    }

    fn boundary_line(&mut self) -> Result<bool, ApiError> {
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            return Ok(true);
        }
        let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else {
            // White space may stand behind a boundary, but not without end.
            let too_long = self.buffer.len() > BOUNDARY_BYTES_MAX;
            return if too_long { Err(malformed("a boundary does not end")) } else { Ok(false) };
        };
        if self
            .buffer
            .get(..end)
            .is_some_and(|padding| padding.iter().any(|byte| !matches!(byte, b' ' | b'\t')))
        {
            return Err(malformed("something stands behind a boundary"));
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(malformed(&format!("it has more than {PARTS_MAX} parts")));
        }
        self.buffer.drain(..end + 2);
        self.state = State::Head;
        Ok(true)
    }

    fn head(&mut self, events: &mut Vec<Event>) -> Result<bool, ApiError> {
        let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            let too_long = self.buffer.len() > HEAD_BYTES_MAX;
            return if too_long { Err(malformed("the head of a part is too long")) } else { Ok(false) };
        };
        if end > HEAD_BYTES_MAX {
            return Err(malformed("the head of a part is too long"));
        }
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).map_err(|_| malformed("the head of a part is not UTF-8"))?;
        let field = |wanted: &str| {
            head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
                name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        let disposition = field("content-disposition").unwrap_or_default();
        let (_, parameters) = disposition.split_once(';').unwrap_or_default();
        let name = parameter(parameters, "name").ok_or_else(|| malformed("a part has no name"))?;
        let filename = filename(parameters);
        self.state = match filename {
            Some(filename) => {
                events.push(Event::File { name, filename, media_type: field("content-type") });
                State::File
            }
            None => State::Field { name, value: Vec::new() },
        };
        Ok(true)
    }

    fn field(&mut self, events: &mut Vec<Event>) -> Result<bool, ApiError> {
        let (bytes, found) = self.up_to_delimiter();
        let State::Field { name, value } = &mut self.state else { return Ok(false) };
        value.extend_from_slice(&bytes);
        if value.len() > FIELD_BYTES_MAX {
            let message = format!("it is longer than {FIELD_BYTES_MAX} bytes");
            return Err(waggle_openai::json::invalid_value(waggle_openai::error::echo(name), &message));
        }
        if found {
            let value = String::from_utf8(std::mem::take(value));
            let value = value.map_err(|_| malformed("a field is not UTF-8"))?;
            events.push(Event::Field { name: std::mem::take(name), value });
            self.state = State::Boundary;
        }
        Ok(found)
    }
}

/// The name of a file, without the folders that some clients send along.
fn filename(parameters: &str) -> Option<String> {
    let extended = parameter(parameters, "filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| waggle_openai::percent::decode(encoded)).flatten()
    });
    let plain = || {
        let name = parameter(parameters, "filename")?;
        // How HTML's forms write what cannot stand in quotes.
        Some(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
    };
    let name = extended.or_else(plain)?;
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    Some(
        name.chars()
            .map(|one| if one.is_control() { ' ' } else { one })
            .collect::<String>()
            .trim()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=AaB03x";

    /// The events of a form that arrives in these pieces, with a file's bytes put together.
    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, ApiError> {
        let mut form = Form::new(Some(TYPE)).unwrap();
        let mut events: Vec<Event> = Vec::new();
        for piece in pieces {
            for event in form.feed(piece)? {
                match (events.last_mut(), event) {
                    (Some(Event::Bytes(before)), Event::Bytes(bytes)) => before.extend(bytes),
                    (_, event) => events.push(event),
                }
            }
        }
        form.finish().map(|()| events)
    }

    fn part(head: &str, body: &str) -> String {
        format!("--AaB03x\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    }

    fn example() -> String {
        let file = "--AaB03x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\none\r\n--AaB03\r\n--\r\ntwo\r\n";
        format!("{}{file}--AaB03x--\r\nrest", part("name=\"purpose\"", "user_data"))
    }

    fn expected() -> Vec<Event> {
        vec![
            Event::Field { name: "purpose".to_owned(), value: "user_data".to_owned() },
            Event::File {
                name: "file".to_owned(),
                filename: "a.txt".to_owned(),
                media_type: Some("text/plain".to_owned()),
            },
            Event::Bytes(b"one\r\n--AaB03\r\n--\r\ntwo".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn a_form_says_the_same_however_it_arrives(cuts in prop::collection::vec(0usize..400, 0..8)) {
            let text = example();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[start..cut]);
                start = cut;
            }
            prop_assert_eq!(read(&pieces), Ok(expected()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _read = read(&[&bytes]);
        }

        #[test]
        fn a_file_comes_out_as_it_went_in(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut form = part("name=\"file\"; filename=\"x\"", "").into_bytes();
            form.truncate(form.len() - 2);
            form.extend_from_slice(&bytes);
            form.extend_from_slice(b"\r\n--AaB03x--");
            let events = read(&[&form]).unwrap();
            let found = events.get(1).map_or(&[][..], |event| match event {
                Event::Bytes(bytes) => bytes,
                _ => panic!("{event:?}"),
            });
            prop_assert_eq!(found, &bytes[..]);
        }
    }

    #[test]
    fn byte_by_byte_nothing_is_lost() {
        let text = example();
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&pieces), Ok(expected()));
    }

    #[test]
    fn a_files_name_is_read_as_clients_write_it() {
        let check = |written: &str, expected: &str| {
            let form = format!("{}--AaB03x--", part(&format!("name=file; {written}"), "x"));
            let events = read(&[form.as_bytes()]).unwrap();
            let Some(Event::File { filename, .. }) = events.first() else { panic!("{events:?}") };
            assert_eq!(filename, expected, "{written}");
        };
        check("filename=\"a b.txt\"", "a b.txt");
        check("filename=plain.txt", "plain.txt");
        check(r#"filename="a\"b\\c.txt""#, "c.txt");
        check("filename=\"say %22hi%22.txt\"", "say \"hi\".txt");
        check("filename=\"资料.txt\"", "资料.txt");
        check("filename=\"x\"; filename*=UTF-8''%E8%B5%84%E6%96%99.txt", "资料.txt");
        check(r#"filename="C:\dir\a.txt""#, "a.txt");
        check("filename=\"../../etc/passwd\"", "passwd");
        check("filename=\"a;b=c.txt\"", "a;b=c.txt");
        check("filename=\"\"", "");
    }

    #[test]
    fn what_is_no_form_is_told_what_is_wrong() {
        let check = |text: &str| {
            let error = read(&[text.as_bytes()]).unwrap_err();
            assert_eq!((error.status, error.code), (400, Some("invalid_multipart")), "{text:.60}");
        };
        check("");
        check("hello");
        check("--AaB03x");
        check("--AaB03x\r\n\r\nno name\r\n--AaB03x--");
        check(&part("name=\"a\"", "b"));
        check(&format!("--AaB03xyz\r\n{}", part("name=\"a\"", "b")));
        check(&format!("--AaB03x\r\n{}", "x".repeat(HEAD_BYTES_MAX + 1)));
        check(&format!("{}--AaB03x--", part("name=\"a\"", "b").repeat(PARTS_MAX + 1)));
        let long = format!("{}--AaB03x--", part("name=\"a\"", &"x".repeat(FIELD_BYTES_MAX + 1)));
        assert_eq!(read(&[long.as_bytes()]).unwrap_err().param.as_deref(), Some("a"));
        for (content_type, status) in [
            (None, 415),
            (Some("application/json"), 415),
            (Some("multipart/form-data"), 400),
            (Some("multipart/form-data; boundary="), 400),
            (Some("multipart/form-data; boundary=\"unclosed"), 400),
        ] {
            assert_eq!(Form::new(content_type).unwrap_err().status, status, "{content_type:?}");
        }
        assert!(Form::new(Some("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\"")).is_ok());
    }
}
