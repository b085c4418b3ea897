//! Whose a token is: never another tenant's than the one whose key signed it.

use super::*;

fn tenant_of(issuers: &TokenIssuers, token: &str) -> Result<String, TokenError> {
    verify(issuers, token).map(|claims| claims.tenant.to_string())
}

fn unnamed(payload: &mut Value) {
    payload.as_object_mut().unwrap().remove("tenant");
}

#[test]
fn a_token_of_one_tenants_key_never_speaks_for_another() {
    // All with the same issuer and audience, each with a secret or a key of its own, some with the other's `kid`.
    let keys = [
        ("bank", secret_key("bank")),
        ("shop", secret_key("shop")),
        ("rsa", pem_key(RSA).with_kid("k")),
        ("ec", pem_key(P256).with_kid("k")),
        ("ed", pem_key(ED25519).with_kid("k")),
    ];
    let entries = keys.iter().map(|(tenant, key)| match key.jwks() {
        Some(_) => with_key(tenant, key),
        None => with_secret(tenant),
    });
    let issuers = issuers(entries.collect());
    for (signer, key) in &keys {
        for (claimed, _) in &keys {
            let verdict = tenant_of(&issuers, &token(key, claimed, |_| {}));
            let expected =
                if signer == claimed { Ok((*claimed).to_owned()) } else { Err(TokenError::Signature) };
            assert_eq!(verdict, expected, "{signer} claims to be {claimed}");
        }
        let verdict = tenant_of(&issuers, &token(key, signer, unnamed));
        assert_eq!(
            verdict,
            Err(TokenError::Claim("tenant")),
            "several share the issuer, so {signer} must say"
        );
    }
}

#[test]
fn tenants_may_share_issuer_audience_and_keys_if_tokens_name_them() {
    let key = pem_key(ED25519);
    let issuers = issuers(vec![with_key("bank", &key), with_key("shop", &key)]);
    assert_eq!(tenant_of(&issuers, &token(&key, "bank", |_| {})).as_deref(), Ok("bank"));
    assert_eq!(tenant_of(&issuers, &token(&key, "shop", |_| {})).as_deref(), Ok("shop"));
    assert_eq!(tenant_of(&issuers, &token(&key, "x", unnamed)), Err(TokenError::Claim("tenant")));
    assert_eq!(tenant_of(&issuers, &token(&key, "third", |_| {})), Err(TokenError::UnknownIssuer));
}

#[test]
fn a_token_that_names_no_tenant_is_of_the_only_one_it_can_be_of() {
    let audience = |tenant, audience: &str| {
        let mut entry = with_secret(tenant);
        entry.issuer.audience = audience.to_owned();
        entry
    };
    let issuers = issuers(vec![
        audience("bank", "bank-api"),
        audience("bank", "bank-web"),
        audience("shop", "shop-api"),
        audience("bank", "both"),
        audience("shop", "both"),
    ]);
    let check = |signer: &str, aud: Value, expected: Result<&str, TokenError>| {
        let token = token(&secret_key(signer), signer, |payload| {
            unnamed(payload);
            payload["aud"] = aud.clone();
        });
        assert_eq!(tenant_of(&issuers, &token), expected.map(str::to_owned), "{signer} {aud}");
    };
    check("bank", json!("bank-api"), Ok("bank"));
    check("bank", json!(["bank-api", "bank-web", "elsewhere"]), Ok("bank"));
    check("shop", json!("shop-api"), Ok("shop"));
    check("shop", json!("bank-api"), Err(TokenError::Signature));
    check("bank", json!("both"), Err(TokenError::Claim("tenant")));
    check("bank", json!(["bank-api", "shop-api"]), Err(TokenError::Claim("tenant")));
    check("bank", json!(["bank-api", "both"]), Err(TokenError::Claim("tenant")));
    check("bank", json!("elsewhere"), Err(TokenError::Claim("aud")));
}

#[test]
fn a_tenant_claim_is_a_tenants_id() {
    let issuers = issuers(vec![with_secret("bank")]);
    for claim in
        [json!("Bank"), json!("bank "), json!(""), json!(null), json!(["bank"]), json!(1), json!("bank\u{0}")]
    {
        let token = token(&secret_key("bank"), "bank", |payload| payload["tenant"] = claim.clone());
        assert_eq!(tenant_of(&issuers, &token), Err(TokenError::Claim("tenant")), "{claim}");
    }
}

#[test]
fn a_tenant_may_have_several_issuers_of_the_same_name() {
    let key = pem_key(P256);
    let issuers = issuers(vec![with_secret("bank"), with_key("bank", &key)]);
    for key in [secret_key("bank"), key] {
        assert_eq!(tenant_of(&issuers, &token(&key, "bank", unnamed)).as_deref(), Ok("bank"));
    }
}

#[test]
fn unusable_keys_only_break_their_own_issuer() {
    let broken = |change: &dyn Fn(&mut Issuer)| {
        let mut issuer = keyless();
        change(&mut issuer);
        entry("broken", issuer, None)
    };
    for entry in [
        broken(&|_| {}),
        broken(&|issuer| issuer.jwks = Some("{".to_owned())),
        broken(&|issuer| issuer.jwks = Some(r#"{"keys":[]}"#.to_owned())),
        broken(&|issuer| issuer.jwks_url = Some("http://id.example/jwks".to_owned())),
        broken(&|issuer| issuer.secret = Some(SecretSource::Environment("UNSET".to_owned()))),
        IssuerEntry { secret: Some(Secret::new("short")), ..with_secret("broken") },
    ] {
        let issuers = issuers(vec![entry, with_secret("bank")]);
        assert_eq!(tenant_of(&issuers, &token(&secret_key("bank"), "bank", |_| {})).as_deref(), Ok("bank"));
        let verdict = tenant_of(&issuers, &token(&secret_key("broken"), "broken", |_| {}));
        assert!(matches!(verdict, Err(TokenError::KeysUnavailable(_))), "{verdict:?}");
        let shown = format!("{verdict:?}");
        assert!(!shown.contains("short"), "{shown}");
    }
}

#[test]
fn replacing_issuers_takes_effect_at_once() {
    let issuers = issuers(vec![with_secret("bank")]);
    let (bank, shop) =
        (token(&secret_key("bank"), "bank", |_| {}), token(&secret_key("shop"), "shop", |_| {}));
    let generation = issuers.generation();
    assert!(verify(&issuers, &bank).is_ok());
    assert_eq!(issuers.generation(), generation, "a token changes nothing");
    issuers.replace(vec![with_secret("shop")]);
    assert_ne!(issuers.generation(), generation);
    assert_eq!(verify(&issuers, &bank), Err(TokenError::UnknownIssuer));
    assert!(verify(&issuers, &shop).is_ok());
    // The same issuer with another secret is another one.
    issuers.replace(vec![IssuerEntry { secret: Some(secret("other")), ..with_secret("shop") }]);
    assert_eq!(verify(&issuers, &shop), Err(TokenError::Signature));
    issuers.replace(Vec::new());
    assert_eq!(verify(&issuers, &shop), Err(TokenError::UnknownIssuer));
}

#[test]
fn a_tenant_has_a_bounded_number_of_issuers() {
    let nth = |n: usize| {
        let mut entry = with_secret("bank");
        entry.issuer.issuer = format!("issuer-{n}");
        entry
    };
    let issuers = issuers((0..=ISSUERS_PER_TENANT_MAX).map(nth).collect());
    let verdict = |n: usize| {
        let token =
            token(&secret_key("bank"), "bank", |payload| payload["iss"] = json!(format!("issuer-{n}")));
        tenant_of(&issuers, &token)
    };
    assert!(verdict(ISSUERS_PER_TENANT_MAX - 1).is_ok());
    assert_eq!(verdict(ISSUERS_PER_TENANT_MAX), Err(TokenError::UnknownIssuer));
}
