//! A server that remembers what it was sent, bodies included, and answers all of it alike.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Method and path.
    pub(crate) line: String,
    /// Names are lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// One that answers 200 with this JSON.
    pub(crate) fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&received), answer.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _gone = converse(&stream, &answer, &seen);
            }
        });
        Self { url, received }
    }

    /// All that was sent so far, oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn converse(mut stream: &TcpStream, answer: &str, seen: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut fields = Vec::new();
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field)? == 0 || field == "\r\n" {
            break;
        }
        let (name, value) = field.split_once(':').unwrap_or_default();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    seen.lock().unwrap().push(Received { line, fields, body });
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )
}
