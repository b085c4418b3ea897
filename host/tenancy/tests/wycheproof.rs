//! The JSON Web Signature vectors of Project Wycheproof (tests/data/README.md), at the level of signatures: what a
//! payload says is not their subject.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use serde_json::Value;
use waggle_tenancy::{TokenError, verify_signature};

/// The algorithms that are accepted; a token of any other is refused, whether its signature is right or not.
const SUPPORTED: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

/// Vectors called valid that are refused: each holds a `?` inside a part. RFC 7515, section 2, and RFC 4648, section
/// 3.3, allow no character outside the alphabet, and the same file calls such tokens invalid where the `?` stands in the
/// signature (361) or the signature covers it (371).
const REFUSED_THOUGH_VALID: [u64; 2] = [372, 373];

/// Vectors called invalid that are accepted: each is the same text as vector 357, which is called valid. Their comments
/// speak of a padding that is not there.
const ACCEPTED_THOUGH_INVALID: [u64; 2] = [367, 370];
const SAME_AS: u64 = 357;

struct Vector {
    id: u64,
    /// What verifies: the public key, where there is one.
    jwk: Value,
    token: String,
    valid: bool,
}

impl Vector {
    /// The algorithm the token asks for, or else the one its key is for.
    fn algorithm(&self) -> String {
        let header = self.token.split('.').next().unwrap_or_default();
        let header = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
        let header: Value = serde_json::from_slice(&header.unwrap_or_default()).unwrap_or_default();
        let name = header["alg"].as_str().or_else(|| self.jwk["alg"].as_str());
        name.unwrap_or("unnamed").to_owned()
    }
}

fn vectors() -> Vec<Vector> {
    let file: Value =
        serde_json::from_str(include_str!("data/wycheproof-json_web_signature_test.json")).unwrap();
    let groups = file["testGroups"].as_array().unwrap();
    let of_group = |group: &Value| {
        let jwk = group.get("public").or_else(|| group.get("private")).unwrap().clone();
        let vector = move |test: &Value| Vector {
            id: test["tcId"].as_u64().unwrap(),
            jwk: jwk.clone(),
            token: test["jws"].as_str().unwrap().to_owned(),
            valid: match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("an unknown result {other:?}"),
            },
        };
        group["tests"].as_array().unwrap().iter().map(vector).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

#[test]
fn every_vector_has_the_expected_verdict() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 401);
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for vector in &vectors {
        let algorithm = vector.algorithm();
        let expected = if REFUSED_THOUGH_VALID.contains(&vector.id) {
            assert!(vector.valid && vector.token.contains('?'), "{} is in the wrong table", vector.id);
            false
        } else if ACCEPTED_THOUGH_INVALID.contains(&vector.id) {
            let same = vectors.iter().find(|other| other.id == SAME_AS).unwrap();
            assert!(!vector.valid && same.valid && vector.token == same.token, "{} differs", vector.id);
            true
        } else {
            vector.valid && SUPPORTED.contains(&algorithm.as_str())
        };
        let verdict = verify_signature(&vector.jwk.to_string(), &vector.token);
        if verdict.is_ok() != expected {
            wrong.push((vector.id, algorithm.clone(), verdict.clone()));
        }
        counts.entry(algorithm).or_default()[usize::from(verdict.is_err())] += 1;
    }
    for (algorithm, [accepted, refused]) in &counts {
        println!("{algorithm}: {accepted} accepted, {refused} refused");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // As many as there are valid ones of each, by hand, so that the tables above cannot grow unnoticed.
    for (algorithm, expected) in [("HS256", 10), ("RS256", 8), ("ES256", 2)] {
        assert_eq!(counts[algorithm][0], expected, "accepted of {algorithm}");
    }
}

/// Each valid vector is refused under the keys of all others, and under its own public key taken as a shared secret.
#[test]
fn a_valid_vector_is_valid_for_its_own_key_only() {
    let vectors = vectors();
    let valid: Vec<&Vector> = vectors.iter().filter(|vector| vector.valid).collect();
    let material = |jwk: &Value| jwk.get("n").or_else(|| jwk.get("x")).or_else(|| jwk.get("k")).cloned();
    for vector in &valid {
        for other in vectors.iter().filter(|other| material(&other.jwk) != material(&vector.jwk)) {
            let verdict = verify_signature(&other.jwk.to_string(), &vector.token);
            assert!(verdict.is_err(), "{} under the key of {}", vector.id, other.id);
        }
    }
}

/// A key says what it is for; a token cannot talk it into anything else.
#[test]
fn a_key_for_something_else_verifies_nothing() {
    let vector = vectors().into_iter().find(|vector| vector.id == 33).unwrap();
    let verify = |name: &str, value: Value| {
        let mut jwk = vector.jwk.clone();
        jwk[name] = value;
        verify_signature(&jwk.to_string(), &vector.token)
    };
    assert_eq!(verify("use", "sig".into()), Ok(()));
    assert_eq!(verify("key_ops", serde_json::json!(["verify"])), Ok(()));
    for (name, value) in [
        ("use", Value::from("enc")),
        ("use", Value::Null),
        ("key_ops", serde_json::json!(["sign"])),
        ("key_ops", serde_json::json!([])),
        ("key_ops", Value::from("verify")),
        ("alg", Value::from("RS384")),
        ("alg", Value::from("PS256")),
        ("alg", Value::from("HS256")),
        ("alg", Value::from("none")),
        ("kty", Value::from("oct")),
        ("d", Value::from("AQAB")),
    ] {
        let verdict = verify(name, value.clone());
        assert!(matches!(verdict, Err(TokenError::KeysUnavailable(_))), "{name} {value}: {verdict:?}");
    }
}
