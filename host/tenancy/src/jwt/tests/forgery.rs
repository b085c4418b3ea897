//! Tokens that somebody without the key has made.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

#[test]
fn no_byte_of_a_token_can_be_changed() {
    for key in all_keys() {
        let issuers = issuers(vec![issuer_of(&key)]);
        let good = token(&key, "bank", |_| {});
        assert!(verify(&issuers, &good).is_ok());
        // All other bytes that may stand in a token, and some that may not. RSA is slow, and its signature long.
        let others: &[u8] = if matches!(key.jwks(), Some(jwks) if jwks.contains("RSA")) {
            b"A.=\n"
        } else {
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0?"
        };
        for at in 0..good.len() {
            for other in others.iter().filter(|other| **other != good.as_bytes()[at]) {
                let mut bytes = good.clone().into_bytes();
                bytes[at] = *other;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verify(&issuers, &changed).is_err(), "{key:?}: byte {at} as {other}: {changed}");
            }
        }
    }
}

#[test]
fn no_byte_can_be_added_or_removed() {
    for key in all_keys() {
        let issuers = issuers(vec![issuer_of(&key)]);
        let good = token(&key, "bank", |_| {});
        for at in 0..=good.len() {
            for added in ["A", ".", "=", " ", "\n"] {
                let changed = format!("{}{added}{}", &good[..at], &good[at..]);
                assert!(verify(&issuers, &changed).is_err(), "{key:?}: {added:?} at {at}");
            }
            if at < good.len() {
                let changed = format!("{}{}", &good[..at], &good[at + 1..]);
                assert!(verify(&issuers, &changed).is_err(), "{key:?}: without byte {at}");
                assert!(verify(&issuers, &good[..at]).is_err(), "{key:?}: cut at {at}");
            }
        }
    }
}

#[test]
fn another_algorithm_in_the_header_verifies_nothing() {
    let payload = payload("bank");
    for key in all_keys() {
        let own = key.header()["alg"].clone();
        let issuers = issuers(vec![issuer_of(&key)]);
        for alg in ["HS256", "RS256", "ES256", "EdDSA", "PS256", "HS512", "none", "None", "nOnE", ""] {
            if own == alg {
                continue;
            }
            let signed = key.sign(&json!({"alg": alg}), &payload).unwrap();
            assert!(verify(&issuers, &signed).is_err(), "{own} as {alg}");
            let unsigned = format!("{}.", &signed[..signed.rfind('.').unwrap()]);
            assert!(verify(&issuers, &unsigned).is_err(), "{own} as {alg}, unsigned");
        }
    }
}

/// The classic: what is public about a key, taken as the shared secret of HS256.
#[test]
fn a_public_key_is_no_shared_secret() {
    for (pem, key) in [(RSA, pem_key(RSA)), (P256, pem_key(P256)), (ED25519, pem_key(ED25519))] {
        let issuers = issuers(vec![with_key("bank", &key)]);
        let jwks = key.jwks().unwrap();
        let jwk = serde_json::from_str::<Value>(&jwks).unwrap()["keys"][0].clone();
        let number = jwk.get("n").or_else(|| jwk.get("x")).unwrap().as_str().unwrap().to_owned();
        let mut secrets = vec![
            jwks.into_bytes(),
            jwk.to_string().into_bytes(),
            pem.as_bytes().to_vec(),
            number.clone().into(),
        ];
        secrets.push(URL_SAFE_NO_PAD.decode(&number).unwrap());
        for public in secrets {
            let hmac_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
            let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
            let signed = format!("{}.{}", encode(json!({"alg": "HS256"})), encode(payload("bank")));
            let tag = ring::hmac::sign(&hmac_key, signed.as_bytes());
            let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert_eq!(verify(&issuers, &forged), Err(TokenError::Signature), "{key:?}");
        }
    }
}

/// A key set is public: a symmetric key in one would be everybody's.
#[test]
fn a_symmetric_key_in_a_key_set_is_not_used() {
    let k = URL_SAFE_NO_PAD.encode(secret("bank").expose());
    let jwks = json!({"keys": [{"kty": "oct", "k": k}]}).to_string();
    let issuers = issuers(vec![entry("bank", Issuer { jwks: Some(jwks), ..keyless() }, None)]);
    let forged = token(&secret_key("bank"), "bank", |_| {});
    assert!(matches!(verify(&issuers, &forged), Err(TokenError::KeysUnavailable(_))));
}

/// Nothing in a header brings a key along (RFC 7515, sections 4.1.2 to 4.1.6).
#[test]
fn a_key_in_the_header_is_not_looked_at() {
    let attacker = pem_key(ED25519);
    let jwks: Value = serde_json::from_str(&attacker.jwks().unwrap()).unwrap();
    let issuers = issuers(vec![with_key("bank", &pem_key(P256)), with_secret("shop")]);
    for header in [
        json!({"alg": "EdDSA", "jwk": jwks["keys"][0]}),
        json!({"alg": "EdDSA", "jku": "https://attacker.example/jwks"}),
        json!({"alg": "EdDSA", "x5u": "https://attacker.example/chain", "x5c": ["AAAA"]}),
        json!({"alg": "EdDSA", "kid": "https://attacker.example/jwks"}),
        json!({"alg": "EdDSA", "kid": "../../dev/null"}),
    ] {
        let forged = attacker.sign(&header, &payload("bank")).unwrap();
        assert_eq!(verify(&issuers, &forged), Err(TokenError::Signature), "{header}");
    }
}

/// RFC 8037, appendix A.4: the standard's own example, its payload and all.
#[test]
fn the_standards_example_of_ed25519_is_verified() {
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verify_signature(JWK, TOKEN), Ok(()));
    // Another bit of the signature, and one that means nothing but may not be set either.
    assert_eq!(verify_signature(JWK, &TOKEN.replace("KAg", "KAw")), Err(TokenError::Signature));
    let unused_bit = verify_signature(JWK, &TOKEN.replace("KAg", "KAh"));
    assert!(matches!(unused_bit, Err(TokenError::Malformed(_))), "{unused_bit:?}");
    assert_eq!(verify_signature(JWK, &TOKEN.replace(".RX", ".RY")), Err(TokenError::Signature));
}

proptest! {
    /// Whatever arrives is refused, and nothing panics.
    #[test]
    fn no_text_is_a_token_by_chance(text in "\\PC{0,200}", part in "[A-Za-z0-9_-]{0,80}") {
        let issuers = issuers(vec![with_secret("bank")]);
        prop_assert!(verify(&issuers, &text).is_err());
        let dressed = format!("eyJhbGciOiJIUzI1NiJ9.{part}.{part}");
        prop_assert!(verify(&issuers, &dressed).is_err());
    }

    /// The payload of a token cannot be exchanged for any other, nor its header.
    #[test]
    fn a_signature_fits_one_token(user in "[a-z]{1,8}", tenant in "[a-z]{1,8}", kid in "[a-z]{1,4}") {
        for key in [secret_key("bank"), pem_key(ED25519)] {
            let issuers = issuers(vec![issuer_of(&key)]);
            let good = token(&key, "bank", |_| {});
            let signature = good.rsplit('.').next().unwrap();
            let mut claims = payload("bank");
            claims["sub"] = json!(user);
            claims["tenant"] = json!(tenant);
            let header = json!({"alg": key.header()["alg"], "kid": kid});
            let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
            let forged = format!("{}.{}.{signature}", encode(&key.header()), encode(&claims));
            prop_assert!(verify(&issuers, &forged).is_err());
            let forged = format!("{}.{}.{signature}", encode(&header), encode(&payload("bank")));
            prop_assert!(verify(&issuers, &forged).is_err());
        }
    }
}
