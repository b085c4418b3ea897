//! Keys in files and behind addresses: fetched once, kept, exchanged.

use super::*;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::Semaphore;

const URL: &str = "https://id.example/jwks";

/// A server of key sets: answers what it was last told to, when it is allowed to.
struct Server {
    answer: Mutex<Result<FetchedJwks, String>>,
    fetches: AtomicUsize,
    /// One permit per answer.
    gate: Semaphore,
}

impl Server {
    fn answering(keys: &[&SigningKey]) -> Arc<Self> {
        let server = Self {
            answer: Mutex::new(Err(String::new())),
            fetches: AtomicUsize::new(0),
            gate: Semaphore::new(1_000),
        };
        server.answer(Ok(jwks(keys)), None);
        Arc::new(server)
    }

    fn answer(&self, body: Result<String, &str>, max_age_s: Option<u64>) {
        let answer = body.map(|body| FetchedJwks { body: body.into_bytes(), max_age_s });
        *self.answer.lock().unwrap() = answer.map_err(str::to_owned);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl JwksFetch for Server {
    async fn fetch(&self, _url: &str) -> Result<FetchedJwks, String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.answer.lock().unwrap().clone()
    }
}

/// The set of all keys of `keys`.
fn jwks(keys: &[&SigningKey]) -> String {
    let all = keys.iter().flat_map(|key| {
        let set: Value = serde_json::from_str(&key.jwks().unwrap()).unwrap();
        set["keys"].as_array().unwrap().clone()
    });
    json!({ "keys": all.collect::<Vec<_>>() }).to_string()
}

fn by_url(tenant: &str) -> IssuerEntry {
    entry(tenant, Issuer { jwks_url: Some(URL.to_owned()), ..keyless() }, None)
}

fn served_by(server: &Arc<Server>) -> Arc<TokenIssuers> {
    let issuers = TokenIssuers::new(Arc::clone(server) as Arc<dyn JwksFetch>);
    issuers.replace(vec![by_url("bank")]);
    issuers
}

fn first() -> SigningKey {
    pem_key(ED25519).with_kid("first")
}

fn second() -> SigningKey {
    pem_key(P256).with_kid("second")
}

/// The verdict on a token of `bank` by `key`.
async fn verdict(issuers: &TokenIssuers, key: &SigningKey) -> Result<(), TokenError> {
    issuers.verify(&token(key, "bank", |_| {}), NOW).await.map(|_| ())
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_when_first_needed_and_then_kept() {
    let server = Server::answering(&[&first()]);
    let issuers = served_by(&server);
    assert_eq!(server.fetches(), 0, "nobody has called yet");
    for _ in 0..10 {
        assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    }
    assert_eq!(server.fetches(), 1);
    // Another tenant with the same address, and a change of tenants, fetch nothing.
    issuers.replace(vec![by_url("bank"), by_url("shop")]);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    let shop = token(&first(), "shop", |_| {});
    assert!(issuers.verify(&shop, NOW).await.is_ok());
    assert_eq!(server.fetches(), 1);
    // Once nobody names it, it is forgotten.
    issuers.replace(vec![with_secret("bank")]);
    issuers.replace(vec![by_url("bank")]);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    assert_eq!(server.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_stops_counting_when_its_set_is_old() {
    for (max_age_s, fresh_s) in [(None, 600), (Some(0), 60), (Some(300), 300), (Some(u64::MAX), 86_400)] {
        let server = Server::answering(&[]);
        server.answer(Ok(jwks(&[&first()])), max_age_s);
        let issuers = served_by(&server);
        assert_eq!(verdict(&issuers, &first()).await, Ok(()));
        server.answer(Ok(jwks(&[&second()])), max_age_s);
        pass(fresh_s * 3 / 4 - 1).await;
        assert_eq!(verdict(&issuers, &first()).await, Ok(()), "{max_age_s:?}");
        assert_eq!(server.fetches(), 1, "{max_age_s:?}");
        pass(fresh_s / 4 + 1).await;
        assert_eq!(verdict(&issuers, &first()).await, Err(TokenError::Signature), "{max_age_s:?}");
        assert_eq!(verdict(&issuers, &second()).await, Ok(()), "{max_age_s:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_before_anybody_has_to_wait() {
    let server = Server::answering(&[&first()]);
    let issuers = served_by(&server);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    server.answer(Ok(jwks(&[&first(), &second()])), None);
    let generation = issuers.generation();
    pass(450).await;
    // It does not wait: polled once, it is done.
    assert!(now(issuers.verify(&token(&first(), "bank", |_| {}), NOW)).is_ok());
    until(|| issuers.generation() > generation).await;
    assert_eq!(now(issuers.verify(&token(&second(), "bank", |_| {}), NOW)).map(|_| ()), Ok(()));
    assert_eq!(server.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_fetches_at_once_but_not_again_for_30_seconds() {
    let server = Server::answering(&[&first()]);
    let issuers = served_by(&server);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    server.answer(Ok(jwks(&[&first(), &second()])), None);
    assert_eq!(verdict(&issuers, &second()).await, Ok(()), "rotated, and known at once");
    assert_eq!(server.fetches(), 2);
    let unknown = || first().with_kid("third");
    for _ in 0..100 {
        assert_eq!(verdict(&issuers, &unknown()).await, Err(TokenError::Signature));
    }
    assert_eq!(server.fetches(), 2);
    pass(30).await;
    for _ in 0..100 {
        assert_eq!(verdict(&issuers, &unknown()).await, Err(TokenError::Signature));
    }
    assert_eq!(server.fetches(), 3);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn many_callers_at_once_make_one_fetch() {
    let server = Server::answering(&[&first()]);
    server.gate.forget_permits(1_000);
    let issuers = served_by(&server);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let issuers = Arc::clone(&issuers);
            tokio::spawn(async move { verdict(&issuers, &first()).await })
        })
        .collect();
    until(|| server.fetches() > 0).await;
    // The first caller going away ends nobody's fetch.
    callers[0].abort();
    server.gate.add_permits(1);
    for caller in callers.into_iter().skip(1) {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert_eq!(server.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_in_hand_outlive_their_server_by_a_day() {
    let server = Server::answering(&[&first()]);
    let issuers = served_by(&server);
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    for bad in [Err("connection refused"), Ok("{}".to_owned()), Ok(" ".repeat(256 * 1_024 + 1))] {
        server.answer(bad, None);
        pass(600).await;
        assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    }
    pass(24 * 3_600).await;
    let verdict_then = verdict(&issuers, &first()).await;
    assert!(
        matches!(&verdict_then, Err(TokenError::KeysUnavailable(why)) if why.contains("bytes")),
        "{verdict_then:?}"
    );
    server.answer(Ok(jwks(&[&first()])), None);
    assert_eq!(verdict(&issuers, &first()).await, verdict_then, "too early to try again");
    pass(10).await;
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_five_seconds() {
    let server = Server::answering(&[&first()]);
    server.gate.forget_permits(1_000);
    let issuers = served_by(&server);
    let started = tokio::time::Instant::now();
    let verdict_then = verdict(&issuers, &first()).await;
    assert!(matches!(&verdict_then, Err(TokenError::KeysUnavailable(_))), "{verdict_then:?}");
    let waited = started.elapsed();
    assert!((4_900..=5_100).contains(&waited.as_millis()), "{waited:?}");
    // The next one is told at once, and only once the pause is over somebody asks again.
    assert!(now(issuers.verify(&token(&first(), "bank", |_| {}), NOW)).is_err());
    assert_eq!(server.fetches(), 1);
    server.gate.add_permits(1);
    pass(10).await;
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_within_a_second_of_its_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let issuer = Issuer { jwks_file: Some(path.to_str().unwrap().to_owned()), ..keyless() };
    let issuers = TokenIssuers::new(Arc::new(NoFetch));
    issuers.replace(vec![entry("bank", issuer, None)]);
    let unavailable = async |why: &str| match verdict(&issuers, &first()).await {
        Err(TokenError::KeysUnavailable(problem)) => assert!(problem.contains(why), "{problem}"),
        other => panic!("{why}: {other:?}"),
    };
    unavailable("jwks.json: cannot be read").await;
    pass(1).await;
    std::fs::create_dir(&path).unwrap();
    unavailable("is not a file").await;
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, jwks(&[&first()])).unwrap();
    unavailable("is not a file").await;
    pass(1).await;
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));

    let generation = issuers.generation();
    pass(1).await;
    assert_eq!(verdict(&issuers, &first()).await, Ok(()));
    assert_eq!(issuers.generation(), generation, "looked at and found unchanged");
    std::fs::write(&path, jwks(&[&second()])).unwrap();
    assert_eq!(verdict(&issuers, &first()).await, Ok(()), "not looked at again within the second");
    pass(1).await;
    assert_eq!(verdict(&issuers, &first()).await, Err(TokenError::Signature));
    assert_eq!(verdict(&issuers, &second()).await, Ok(()));
    assert_ne!(issuers.generation(), generation);

    // Half a file is no reason to lock everybody out, but no key outlives its set by more than a day.
    std::fs::write(&path, "{\"keys\":").unwrap();
    pass(1).await;
    assert_eq!(verdict(&issuers, &second()).await, Ok(()));
    pass(24 * 3_600).await;
    unavailable("the key set is not usable").await;
}

/// Lets other tasks run until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never held");
}
