//! A server that says to each path what a case has put there: as an HTTP API, and as an MCP server. It remembers what it was
//! asked.

use crate::tenants_support::read_head;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it says, and what it was asked.
#[derive(Default)]
struct Board {
    /// By the number of the case.
    texts: BTreeMap<usize, String>,
    /// Functions that MCP clients are told of: name and description.
    functions: Vec<(String, String)>,
    /// Method, path and fields of each request.
    heads: Vec<String>,
}

pub(crate) struct Feed {
    pub(crate) url: String,
    board: Arc<Mutex<Board>>,
}

impl Feed {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let board = Arc::new(Mutex::new(Board::default()));
        let shared = Arc::clone(&board);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let board = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _gone = converse(&stream, &board);
                });
            }
        });
        Self { url, board }
    }

    /// What is said where this case asks.
    pub(crate) fn says(&self, case: usize, text: &str) {
        self.board.lock().unwrap().texts.insert(case, text.to_owned());
    }

    /// MCP clients are told of this function from now on.
    pub(crate) fn describes(&self, name: &str, description: &str) {
        let mut board = self.board.lock().unwrap();
        board.functions.retain(|(known, _)| known != name);
        board.functions.push((name.to_owned(), description.to_owned()));
    }

    /// What it was asked, as heads of requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.board.lock().unwrap().heads.clone()
    }
}

fn converse(mut stream: &TcpStream, board: &Mutex<Board>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (head, length) = read_head(&mut reader)?;
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let answer = {
        let mut board = board.lock().unwrap();
        board.heads.push(head.clone());
        board.answer(&head, &body)
    };
    stream.write_all(answer.as_bytes())
}

fn told(status: &str, kind: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

impl Board {
    fn answer(&self, head: &str, body: &[u8]) -> String {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/mcp" {
            return self.mcp(&serde_json::from_slice(body).unwrap_or_default());
        }
        let said = |name: &str| match name.parse().ok().and_then(|case: usize| self.texts.get(&case)) {
            Some(text) => text.clone(),
            None => "Nothing new.".to_owned(),
        };
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "text", name] => told("200 OK", PLAIN, &said(name)),
            ["", "fail", name] => told("422 Unprocessable", PLAIN, &said(name)),
            ["", "away", name] => {
                let location = said(name);
                format!(
                    "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
            }
            _ => told("404 Not Found", PLAIN, "There is nothing."),
        }
    }

    fn mcp(&self, asked: &Value) -> String {
        let result = match asked["method"].as_str().unwrap_or_default() {
            "server/discover" => json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "serverInfo": {"name": "feed", "version": "1"}}),
            "tools/list" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": self.functions.iter().map(|(name, description)| json!({
                    "name": name, "description": description, "annotations": {"readOnlyHint": true},
                    "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}
                })).collect::<Vec<_>>()}),
            "tools/call" => {
                let params = &asked["params"];
                let case = params["arguments"]["name"].as_str().and_then(|name| name.parse::<usize>().ok());
                let text = case.and_then(|case| self.texts.get(&case)).map_or("Nothing new.", String::as_str);
                json!({"resultType": "complete", "isError": params["name"] == "fails",
                    "content": [{"type": "text", "text": text}]})
            }
            _ => {
                let error = json!({"code": -32601, "message": "no such method"});
                let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "error": error});
                return told("404 Not Found", "application/json", &answer.to_string());
            }
        };
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
        told("200 OK", "application/json", &answer.to_string())
    }
}
