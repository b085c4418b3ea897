//! Does the key-value operation its path names, `/INTERFACE/OPERATION?store=…&key=…&value=…`, and tells what came of it.

use guests::imports::fermyon::spin::key_value as spin2;
use guests::imports::wasi::keyvalue::{atomics, batch, store as wasi};
use guests::spin_sdk::key_value as spin3;

guests::serve!(handle);

struct Asked {
    operation: String,
    store: String,
    key: String,
    value: Vec<u8>,
}

async fn handle(request: guests::Request) -> guests::Answer {
    let path = guests::path(&request);
    let mut parts = path.rsplit('/');
    let operation = parts.next().unwrap_or_default().to_owned();
    let interface = parts.next().unwrap_or_default();
    let parameter = |name: &str| guests::parameter(&request, name);
    let asked = Asked {
        operation,
        store: parameter("store").unwrap_or_else(|| "default".to_owned()),
        key: parameter("key").unwrap_or_default(),
        value: parameter("value").unwrap_or_default().into_bytes(),
    };
    let told = match interface {
        "spin3" => by_spin3(&asked).await.map_err(|error| format!("{error:?}")),
        "spin2" => by_spin2(&asked).map_err(|error| format!("{error:?}")),
        "wasi" => by_wasi(&asked).map_err(|error| format!("{error:?}")),
        other => Err(format!("no interface `{other}`")),
    };
    match told {
        Ok(text) => guests::answer(200, text),
        Err(reason) => guests::answer(409, reason),
    }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}

fn listed(mut keys: Vec<String>) -> String {
    keys.sort();
    keys.join(",")
}

async fn by_spin3(asked: &Asked) -> Result<String, spin3::Error> {
    let store = spin3::Store::open(&asked.store).await?;
    match &*asked.operation {
        "get" => store.get(&asked.key).await.map(shown),
        "set" => store.set(&asked.key, &asked.value).await.map(|()| "done".to_owned()),
        "delete" => store.delete(&asked.key).await.map(|()| "done".to_owned()),
        "exists" => store.exists(&asked.key).await.map(|exists| exists.to_string()),
        "keys" => store.get_keys().await.collect().await.map(listed),
        other => Err(spin3::Error::Other(format!("no operation `{other}`"))),
    }
}

fn by_spin2(asked: &Asked) -> Result<String, spin2::Error> {
    let store = spin2::Store::open(&asked.store)?;
    match &*asked.operation {
        "get" => store.get(&asked.key).map(shown),
        "set" => store.set(&asked.key, &asked.value).map(|()| "done".to_owned()),
        "delete" => store.delete(&asked.key).map(|()| "done".to_owned()),
        "exists" => store.exists(&asked.key).map(|exists| exists.to_string()),
        "keys" => store.get_keys().map(listed),
        other => Err(spin2::Error::Other(format!("no operation `{other}`"))),
    }
}

fn by_wasi(asked: &Asked) -> Result<String, wasi::Error> {
    let bucket = wasi::open(&asked.store)?;
    match &*asked.operation {
        "get" => bucket.get(&asked.key).map(shown),
        "set" => bucket.set(&asked.key, &asked.value).map(|()| "done".to_owned()),
        "delete" => bucket.delete(&asked.key).map(|()| "done".to_owned()),
        "exists" => bucket.exists(&asked.key).map(|exists| exists.to_string()),
        "keys" => bucket.list_keys(None).map(|page| listed(page.keys)),
        "increment" => atomics::increment(&bucket, &asked.key, 5).map(|value| value.to_string()),
        "many" => many(&bucket, asked),
        "swap" => swap(&bucket, asked, false),
        "swap-late" => swap(&bucket, asked, true),
        other => Err(wasi::Error::Other(format!("no operation `{other}`"))),
    }
}

/// Sets three keys in one commit, reads them with one that does not exist, removes one, reads again.
fn many(bucket: &wasi::Bucket, asked: &Asked) -> Result<String, wasi::Error> {
    let key = |number: u32| format!("{}-{number}", asked.key);
    let pairs: Vec<_> = (1..=3).map(|number| (key(number), format!("v{number}").into_bytes())).collect();
    batch::set_many(bucket, &pairs)?;
    let read = || -> Result<String, wasi::Error> {
        let mut found = batch::get_many(bucket, &[key(1), key(2), key(3), key(4)])?;
        found.sort();
        Ok(found.into_iter().map(|(_key, value)| shown(value)).collect::<Vec<_>>().join(","))
    };
    let before = read()?;
    batch::delete_many(bucket, &[key(2), key(4)])?;
    Ok(format!("{before} then {}", read()?))
}

/// Swaps the value; `late`, another write comes between the look and the swap, and the swap is tried once more.
fn swap(bucket: &wasi::Bucket, asked: &Asked, late: bool) -> Result<String, wasi::Error> {
    let cas = atomics::Cas::new(bucket, &asked.key)?;
    let seen = shown(cas.current()?);
    if late {
        bucket.set(&asked.key, b"in between")?;
    }
    match atomics::swap(cas, &asked.value) {
        Ok(()) => Ok(format!("swapped {seen}")),
        Err(atomics::CasError::StoreError(error)) => Err(error),
        Err(atomics::CasError::CasFailed(again)) => {
            let now = shown(again.current()?);
            let second = atomics::swap(again, &asked.value).is_ok();
            Ok(format!("failed: {seen} became {now}; again: {second}"))
        }
    }
}
