//! Tokens of a tenant's users: minted by `waggle token`, verified by every kind of key, told to functions.

use crate::neighbours::tenants::{key_of, tenants_toml};
use crate::support::{Function, Server, Setup};
use crate::tenants_support::{Answer, Caller, Origin, in_force, run};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SECRET: (&str, &str) = ("ISSUER_SECRET", "a-shared-secret-of-32-bytes-or-more!");
const OTHER_SECRET: (&str, &str) = ("OTHER_SECRET", "the-shared-secret-of-another-tenant!");

/// Base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let count = chunk.len() + 1;
        (0..count)
            .map(|digit| char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

/// A key that signs: its PEM file and what a key set says of it.
struct SigningKey {
    file: PathBuf,
    public: Value,
}

fn elliptic(folder: &Path, kid: &str) -> SigningKey {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (x, y) = key.public_key_raw()[1..].split_at(32);
    let public = json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y) });
    written(folder, kid, &key.serialize_pem(), public)
}

fn edwards(folder: &Path, kid: &str) -> SigningKey {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(key.public_key_raw()) });
    written(folder, kid, &key.serialize_pem(), public)
}

fn rsa(folder: &Path, kid: &str) -> SigningKey {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let pem =
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "PEM"]);
    let key = written(folder, kid, &pem, Value::Null);
    let modulus = openssl(&["rsa", "-in", key.file.to_str().unwrap(), "-noout", "-modulus"]);
    let hex = modulus.trim().strip_prefix("Modulus=").unwrap();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    SigningKey { public: json!({ "kty": "RSA", "kid": kid, "n": base64url(&bytes), "e": "AQAB" }), ..key }
}

fn written(folder: &Path, kid: &str, pem: &str, public: Value) -> SigningKey {
    let file = folder.join(format!("{kid}.pem"));
    fs::write(&file, pem).unwrap();
    SigningKey { file, public }
}

/// What a token is to say.
#[derive(Clone, Copy)]
struct Wish<'a> {
    tenant: &'a str,
    issuer: &'a str,
    audience: &'a str,
    more: &'a [&'a str],
}

impl<'a> Wish<'a> {
    const BANK: Wish<'static> =
        Wish { tenant: "bank-a", issuer: "https://id.example", audience: "waggle", more: &[] };

    fn token(self, key: &[&str]) -> String {
        let Self { tenant, issuer, audience, more } = self;
        let head = ["token", "--tenant", tenant, "--issuer", issuer, "--audience", audience];
        let user: &[&str] = if more.contains(&"--user") { &[] } else { &["--user", "alice"] };
        let (done, token, error) = run(&[&head[..], user, key, more].concat(), &[SECRET, OTHER_SECRET]);
        assert!(done, "{error}");
        token.trim().to_owned()
    }

    fn shared(self) -> String {
        self.token(&["--secret-environment", SECRET.0])
    }

    fn signed(self, key: &SigningKey, kid: &str) -> String {
        self.token(&["--private-key", key.file.to_str().unwrap(), "--key-id", kid])
    }
}

/// A function that tells what it was sent, and two tenants with these lines.
fn start(setup: impl FnOnce(&Path) -> (String, String)) -> Server {
    let all = Setup::functions(&[Function::guest("headers-echo")]).env(SECRET.0, SECRET.1);
    let all = all.env(OTHER_SECRET.0, OTHER_SECRET.1);
    let (bank, shop) = setup(all.folder());
    let path = all.folder().join("tenants.toml");
    fs::write(&path, tenants_toml([("bank-a", bank.as_str()), ("shop-b", shop.as_str())])).unwrap();
    all.args(&["--tenants", path.to_str().unwrap()]).start()
}

fn issuer(tenant: &str, name: &str, keys: &str) -> String {
    format!(
        "[[tenant.{tenant}.issuers]]\nissuer = \"{name}\"\naudience = \"waggle\"\nclock_skew_s = 0\n{keys}\n"
    )
}

async fn ask(server: &Server, token: &str) -> Answer {
    Caller::with(server, token).get("/headers-echo/").await
}

#[track_caller]
fn check_refused(answer: &Answer, part: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_api_key"), "{answer:?}");
    assert!(answer.text.contains(part), "{part:?} is missing in {answer:?}");
}

#[tokio::test]
async fn a_token_tells_the_function_who_is_calling_and_nothing_else_does() {
    let server = start(|_| {
        let keys = format!("secret = {{ environment = \"{}\" }}", SECRET.0);
        (issuer("bank-a", "https://id.example", &keys), String::new())
    });
    let more = ["--user", "alice", "--session", "s-1", "--scope", "chat", "--scope", "files.read"];
    let token = Wish { more: &more, ..Wish::BANK }.shared();
    let told = ask(&server, &token).await;
    for line in ["waggle-user: alice\n", "waggle-session: s-1\n", "waggle-scopes: chat files.read\n"] {
        assert!(told.text.contains(line), "{line} is missing in {told:?}");
    }
    let id = told.header("x-request-id");
    assert!(told.text.contains(&format!("waggle-request-id: {id}\n")), "{told:?}");
    assert!(!told.text.contains("authorization"), "the credential is no function's business: {told:?}");
    assert!(!told.text.contains(&token[token.len() - 20..]), "{told:?}");

    // What a client says of itself is taken out, whatever its credential.
    let forged = |caller: &Caller| {
        ["waggle-user", "waggle-session", "waggle-scopes", "waggle-request-id", "Waggle-Tenant", "spin-x"]
            .iter()
            .fold(caller.request("GET", "/headers-echo/"), |request, name| request.header(*name, "forged"))
    };
    let service = Caller::with(&server, &key_of("bank-a"));
    let told = Answer::of(forged(&service)).await;
    assert!(told.status == 200 && !told.text.contains("forged"), "{told:?}");
    assert!(!told.text.contains("waggle-user") && !told.text.contains("waggle-scopes"), "{told:?}");
    let told = Answer::of(forged(&Caller::with(&server, &token))).await;
    assert!(told.text.contains("waggle-user: alice\n") && !told.text.contains("forged"), "{told:?}");
    // Two credentials are none.
    let two = service.request("GET", "/headers-echo/").header("authorization", format!("Bearer {token}"));
    assert_eq!(Answer::of(two).await.status, 400);
}

#[tokio::test]
async fn every_kind_of_key_verifies_and_none_stands_in_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [elliptic(folder.path(), "es"), edwards(folder.path(), "ed"), rsa(folder.path(), "rs")];
    let set = json!({ "keys": keys.iter().map(|key| &key.public).collect::<Vec<_>>() }).to_string();
    let server = start(|folder| {
        fs::write(folder.join("jwks.json"), &set).unwrap();
        let secret = |variable| format!("secret = {{ environment = \"{variable}\" }}");
        let shared = issuer("bank-a", "https://shared.example", &secret(SECRET.0));
        let shop = issuer("shop-b", "https://shop.example", &secret(OTHER_SECRET.0));
        // Both tenants have an issuer of this name, each with keys of its own.
        let same = issuer("shop-b", "https://id.example", &secret(OTHER_SECRET.0));
        let file = issuer("bank-a", "https://id.example", "jwks_file = \"jwks.json\"");
        (file + &shared, shop + &same)
    });
    let good: Vec<(&str, String)> = vec![
        ("ES256", Wish::BANK.signed(&keys[0], "es")),
        ("EdDSA", Wish::BANK.signed(&keys[1], "ed")),
        ("RS256", Wish::BANK.signed(&keys[2], "rs")),
        ("HS256", Wish { issuer: "https://shared.example", ..Wish::BANK }.shared()),
    ];
    for (algorithm, token) in &good {
        for _ in 0..2 {
            let told = ask(&server, token).await;
            assert_eq!(told.status, 200, "{algorithm}: {told:?}");
            assert!(told.text.contains("waggle-user: alice\n"), "{algorithm}: {told:?}");
        }
        // A character of the signature, and one of the claims.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let change = |text: &str, at: usize| {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        };
        check_refused(&ask(&server, &format!("{signed}.{}", change(signature, 5))).await, "token");
        check_refused(
            &ask(&server, &format!("{}.{signature}", change(signed, signed.len() - 9))).await,
            "token",
        );
        check_refused(&ask(&server, &format!("{signed}.")).await, "token");
    }

    // No algorithm, by the claims of a good token.
    let claims = good[0].1.split('.').nth(1).unwrap();
    for none in ["none", "None", "NONE"] {
        let header = base64url(json!({ "alg": none, "typ": "JWT" }).to_string().as_bytes());
        check_refused(&ask(&server, &format!("{header}.{claims}.")).await, "token");
    }
    // The public key is no shared secret.
    let public = folder.path().join("public.pem");
    fs::write(&public, &set).unwrap();
    let confused = Wish::BANK.token(&["--secret-file", public.to_str().unwrap(), "--key-id", "es"]);
    check_refused(&ask(&server, &confused).await, "signature");
    // Another kind of key, or another key of the same kind, under a kid that is there.
    check_refused(&ask(&server, &Wish::BANK.signed(&keys[1], "es")).await, "token");
    let stranger = elliptic(folder.path(), "stranger");
    check_refused(&ask(&server, &Wish::BANK.signed(&stranger, "es")).await, "signature");

    // Another tenant's key with this tenant's claim, by either of its issuers' names; and the other way round.
    let other = ["--secret-environment", OTHER_SECRET.0];
    check_refused(&ask(&server, &Wish::BANK.token(&other)).await, "token");
    let stolen = Wish { issuer: "https://shop.example", ..Wish::BANK };
    check_refused(&ask(&server, &stolen.token(&other)).await, "issuer");
    let own = Wish { tenant: "shop-b", ..stolen };
    assert_eq!(ask(&server, &own.token(&other)).await.status, 200);
    check_refused(&ask(&server, &Wish { tenant: "nobody", ..stolen }.token(&other)).await, "issuer");

    // Wrong words.
    let shared = Wish { issuer: "https://shared.example", ..Wish::BANK };
    check_refused(&ask(&server, &Wish { audience: "other", ..shared }.shared()).await, "`aud`");
    check_refused(
        &ask(&server, &Wish { issuer: "https://nobody.example", ..shared }.shared()).await,
        "issuer",
    );
    let short = Wish { more: &["--lifetime", "2s"], ..shared }.shared();
    assert_eq!(ask(&server, &short).await.status, 200);
    in_force("the end of a token", async || ask(&server, &short).await.status != 200).await;
    check_refused(&ask(&server, &short).await, "expired");
}

/// Has `origin` serve a key set with these keys.
fn serve(origin: &Origin, keys: &[&SigningKey]) {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
    origin.answer(200, &json!({ "keys": keys }).to_string());
}

#[tokio::test]
async fn keys_by_url_are_rotated_without_a_restart_and_outlive_their_server() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["k1", "k2", "k3"].map(|kid| elliptic(folder.path(), kid));
    let (keys, down) = (Origin::start(), Origin::start());
    serve(&keys, &[&first]);
    let server = start(|_| {
        let by_url = |keys: &Origin| format!("jwks_url = \"{}/jwks?key=not-for-the-log\"", keys.url);
        let bank = issuer("bank-a", "https://id.example", &by_url(&keys));
        (bank, issuer("shop-b", "https://down.example", &by_url(&down)))
    });
    let fresh = |key: &SigningKey, kid: &str, user: &str| {
        Wish { more: &["--user", user], ..Wish::BANK }.signed(key, kid)
    };
    assert_eq!(ask(&server, &fresh(&first, "k1", "alice")).await.status, 200);
    assert_eq!(ask(&server, &fresh(&first, "k1", "bob")).await.status, 200);
    assert_eq!(keys.heads().len(), 1, "the set is kept");

    // A kid that is not known yet is looked for at once.
    serve(&keys, &[&first, &second]);
    assert_eq!(ask(&server, &fresh(&second, "k2", "alice")).await.status, 200);
    assert_eq!(ask(&server, &fresh(&first, "k1", "carol")).await.status, 200);
    // But not again and again.
    let asked = keys.heads().len();
    for number in 0..5 {
        let unknown = fresh(&third, "k3", &format!("user-{number}"));
        check_refused(&ask(&server, &unknown).await, "signature");
    }
    assert_eq!(keys.heads().len(), asked, "unknown kids make no flood");

    // The keys in hand go on while nobody serves them, for tokens never seen as well.
    keys.hang_up();
    assert_eq!(ask(&server, &fresh(&second, "k2", "dave")).await.status, 200);
    assert_eq!(ask(&server, &fresh(&first, "k1", "dave")).await.status, 200);

    // Without any keys it is nobody's fault who calls, and the other tenant does not notice.
    let wish = Wish { tenant: "shop-b", issuer: "https://down.example", ..Wish::BANK };
    let lost = ask(&server, &wish.signed(&third, "k3")).await;
    assert_eq!((lost.status, lost.code().as_str()), (503, "issuer_unavailable"), "{lost:?}");
    assert_eq!(lost.header("retry-after"), "1", "{lost:?}");
    assert!(!lost.text.contains(&down.url), "{lost:?}");
    server.wait_for_output(&down.url);
    assert!(!server.output().contains("not-for-the-log"), "{}", server.output());
    assert_eq!(ask(&server, &fresh(&first, "k1", "erin")).await.status, 200);
}

#[test]
fn a_token_that_cannot_be_made_says_why() {
    let check = |key: &[&str], part: &str| {
        let head = ["token", "--tenant", "bank-a", "--user", "a", "--issuer", "i", "--audience", "waggle"];
        let (done, out, error) = run(&[&head[..], key].concat(), &[("SHORT", "hunter2")]);
        assert!(!done && out.is_empty() && error.contains(part), "{key:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    check(&[], "--private-key");
    check(&["--secret-environment", "WAGGLE_NEVER_SET"], "WAGGLE_NEVER_SET");
    check(&["--secret-environment", "SHORT"], "32");
    check(&["--secret-file", "/nowhere/secret"], "/nowhere/secret");
    check(&["--private-key", "/nowhere/key.pem"], "/nowhere/key.pem");
    check(&["--private-key", crate::support::root().join("Cargo.toml").to_str().unwrap()], "Cargo.toml");
}
