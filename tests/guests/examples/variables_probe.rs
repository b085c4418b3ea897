//! Reads the variable its query names, through the interface its path names.

use guests::imports::{fermyon, wasi};
use guests::spin_sdk::variables;

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let name = guests::query(&request);
    let path = guests::path(&request);
    let found = match path.rsplit('/').next().unwrap_or_default() {
        "spin3" => variables::get(&name).await.map_err(|error| format!("{error:?}")),
        "spin2" => fermyon::spin::variables::get(&name).map_err(|error| format!("{error:?}")),
        "config" => match wasi::config::store::get(&name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err("none".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        },
        "config-all" => wasi::config::store::get_all()
            .map(|mut all| {
                all.sort();
                all.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect()
            })
            .map_err(|error| format!("{error:?}")),
        other => Err(format!("no interface `{other}`")),
    };
    match found {
        Ok(value) => guests::answer(200, value),
        Err(reason) => guests::answer(404, reason),
    }
}
