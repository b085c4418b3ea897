//! Prints its environment (`/env`), reads a mounted file (`/read?PATH`), and tries what it may not: to write
//! (`/write?PATH`), to remove (`/remove?PATH`), to leave its folder, to open sockets (`/connect?ADDRESS`), to listen.

use std::net::{TcpListener, TcpStream, UdpSocket};

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let given = guests::query(&request);
    let path = guests::path(&request);
    let told = match path.rsplit('/').next().unwrap_or_default() {
        "env" => Ok(std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()),
        "read" => std::fs::read_to_string(&given),
        "list" => std::fs::read_dir(&given).map(|entries| {
            entries.flatten().map(|entry| format!("{}\n", entry.file_name().to_string_lossy())).collect()
        }),
        "write" => std::fs::write(&given, "changed").map(|()| "written".to_owned()),
        "remove" => std::fs::remove_file(&given).map(|()| "removed".to_owned()),
        "connect" => TcpStream::connect(&given).map(|_stream| "connected".to_owned()),
        "listen" => TcpListener::bind(&given).map(|_listener| "listening".to_owned()),
        "send" => UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.send_to(b"x", &given))
            .map(|_sent| "sent".to_owned()),
        _ => Ok("fine".to_owned()),
    };
    match told {
        Ok(text) => guests::answer(200, text),
        Err(error) => guests::answer(403, format!("{error} ({:?})", error.kind())),
    }
}
