//! Each claim at its bounds.

use super::*;
use proptest::prelude::*;

/// Checks the verdict on a token that `change` was made to; `Ok` compares nothing but that it counts.
fn check(what: &str, change: impl FnOnce(&mut Value), expected: Result<(), TokenError>) {
    let issuers = issuers(vec![with_secret("bank")]);
    let verdict = verify(&issuers, &token(&secret_key("bank"), "bank", change));
    assert_eq!(verdict.map(|_| ()), expected, "{what}");
}

/// Checks the verdict on a token whose claim `name` is `value`, or absent.
fn check_claim(name: &str, value: impl Into<Option<Value>>, expected: Result<(), TokenError>) {
    let value = value.into();
    let what = format!("{name}: {value:?}");
    let change = |payload: &mut Value| {
        let claims = payload.as_object_mut().unwrap();
        match value {
            Some(value) => drop(claims.insert(name.to_owned(), value)),
            None => drop(claims.remove(name)),
        }
    };
    check(&what, change, expected);
}

#[test]
fn a_token_counts_between_its_dates_give_or_take_the_skew() {
    let expired = || Err(TokenError::Expired);
    let early = || Err(TokenError::NotYetValid);
    let check_date = |name: &str, value: Value, expected| check_claim(name, value, expected);
    check_date("exp", json!(NOW), Ok(()));
    check_date("exp", json!(NOW - 29), Ok(()));
    check_date("exp", json!(NOW - 30), expired());
    check_date("exp", json!(NOW - 31), expired());
    check_date("exp", json!(1_799_999_970.5), Ok(()));
    check_date("exp", json!(1_799_999_969.5), expired());
    check_date("exp", json!(0), expired());
    check_date("exp", json!(-1), expired());
    check_date("exp", json!(1e300), Ok(()));
    check_date("exp", json!(u64::MAX), Ok(()));
    for name in ["nbf", "iat"] {
        check_date(name, json!(NOW + 30), Ok(()));
        check_date(name, json!(1_800_000_030.5), early());
        check_date(name, json!(NOW + 31), early());
        check_date(name, json!(u64::MAX), early());
        check_date(name, json!(-1), Ok(()));
        check_claim(name, None, Ok(()));
    }
    check_claim("exp", None, Err(TokenError::Claim("exp")));
    for name in ["exp", "nbf", "iat"] {
        for value in [json!("1800000100"), json!(null), json!(true), json!([NOW]), json!({})] {
            check_date(name, value, Err(TokenError::Claim(name)));
        }
    }
}

#[test]
fn the_end_that_is_told_is_the_first_second_of_refusal() {
    for (exp, skew) in
        [(json!(NOW + 10), 30), (json!(1_800_000_010.25), 30), (json!(NOW + 1), 0), (json!(NOW), 300)]
    {
        let mut bank = with_secret("bank");
        bank.issuer.clock_skew_s = skew;
        let issuers = issuers(vec![bank]);
        let token = token(&secret_key("bank"), "bank", |payload| payload["exp"] = exp.clone());
        let end = verify(&issuers, &token).unwrap().expires_at_s;
        assert!(now(issuers.verify(&token, end - 1)).is_ok(), "{exp} {skew}");
        assert_eq!(now(issuers.verify(&token, end)), Err(TokenError::Expired), "{exp} {skew}");
    }
}

#[test]
fn issuer_and_audience_are_compared_exactly() {
    let unknown = || Err(TokenError::UnknownIssuer);
    for iss in ["https://id.example/", "https://ID.example", "", "https://id.exampl"] {
        check_claim("iss", json!(iss), unknown());
    }
    check_claim("iss", None, Err(TokenError::Claim("iss")));
    check_claim("iss", json!([ISSUER]), Err(TokenError::Claim("iss")));
    let audience = || Err(TokenError::Claim("aud"));
    check_claim("aud", json!(["other", AUDIENCE]), Ok(()));
    check_claim("aud", json!([AUDIENCE]), Ok(()));
    for aud in
        [json!("Waggle"), json!([]), json!(["a", "b"]), json!(null), json!([AUDIENCE, 1]), json!({"a": 1})]
    {
        check_claim("aud", aud, audience());
    }
    check_claim("aud", None, audience());
    check_claim("aud", json!(vec![AUDIENCE; 32]), Ok(()));
    check_claim("aud", json!(vec![AUDIENCE; 33]), audience());
}

#[test]
fn a_user_and_a_session_are_visible_ascii() {
    let bad = [
        json!(""),
        json!(" u"),
        json!("u "),
        json!("a b"),
        json!("a\nb"),
        json!("a\r\nwaggle-user: b"),
        json!("a\u{0}"),
        json!("a\u{7f}"),
        json!("bänk"),
        json!("\u{430}dmin"),
        json!("a\u{200b}"),
        json!("u".repeat(257)),
        json!(7),
        json!(null),
        json!(["u"]),
    ];
    for name in ["sub", "sid", "session"] {
        for value in &bad {
            let change = |payload: &mut Value| {
                payload.as_object_mut().unwrap().remove("sid");
                payload[name] = value.clone();
            };
            check(&format!("{name} {value}"), change, Err(TokenError::Claim(name)));
        }
        check_claim(name, json!("u".repeat(256)), Ok(()));
        check_claim(name, json!("auth0|5f7c8ec7c33c6c004bbafe82"), Ok(()));
    }
    check_claim("sub", None, Err(TokenError::Claim("sub")));
    check_claim("sid", None, Ok(()));
}

#[test]
fn the_claim_that_names_the_user_is_configured() {
    let mut bank = with_secret("bank");
    bank.issuer.user_claim = "email".to_owned();
    let issuers = issuers(vec![bank]);
    let key = secret_key("bank");
    let with_email = token(&key, "bank", |payload| payload["email"] = json!("a@example.com"));
    assert_eq!(&*verify(&issuers, &with_email).unwrap().user, "a@example.com");
    let without = token(&key, "bank", |_| {});
    assert_eq!(verify(&issuers, &without), Err(TokenError::Claim("user_claim")));
}

#[test]
fn session_and_scopes_are_found_where_issuers_put_them() {
    fn check(claims: Value, session: Option<&str>, scopes: Result<&str, &'static str>) {
        let issuers = issuers(vec![with_secret("bank")]);
        let token = token(&secret_key("bank"), "bank", |payload| {
            let own = payload.as_object_mut().unwrap();
            own.retain(|name, _| name != "sid" && name != "scope");
            own.extend(claims.as_object().unwrap().clone());
        });
        match verify(&issuers, &token) {
            Ok(found) => {
                assert_eq!(Ok(&*found.scopes), scopes, "{claims}");
                assert_eq!(found.session.as_deref(), session, "{claims}");
            }
            Err(error) => assert_eq!(Err(error), scopes.map(|_| ()).map_err(TokenError::Claim), "{claims}"),
        }
    }
    check(json!({}), None, Ok(""));
    check(json!({"session": "b"}), Some("b"), Ok(""));
    check(json!({"session": "b", "sid": "a"}), Some("a"), Ok(""));
    check(json!({"scope": ""}), None, Ok(""));
    check(json!({"scope": "  a  b "}), None, Ok("a b"));
    check(json!({"scopes": ["a", "b:c"]}), None, Ok("a b:c"));
    check(json!({"scp": "a b"}), None, Ok("a b"));
    check(json!({"scp": ["a"]}), None, Ok("a"));
    check(json!({"scp": ["z"], "scope": "a"}), None, Ok("a"));
    check(json!({"scope": "a\tb"}), None, Err("scope"));
    check(json!({"scope": "a\r\nb"}), None, Err("scope"));
    check(json!({"scope": "a\"b"}), None, Err("scope"));
    check(json!({"scope": "a\\b"}), None, Err("scope"));
    check(json!({"scope": "ä"}), None, Err("scope"));
    check(json!({"scope": 1}), None, Err("scope"));
    check(json!({"scopes": ["a", 1]}), None, Err("scopes"));
    check(json!({"scope": "a".repeat(2_048)}), None, Ok(&"a".repeat(2_048)));
    check(json!({"scope": "a".repeat(2_049)}), None, Err("scope"));
    check(json!({"scp": vec!["a"; 257]}), None, Err("scp"));
}

#[test]
fn a_payload_that_two_readers_could_read_differently_is_malformed() {
    let key = secret_key("bank");
    let issuers = issuers(vec![with_secret("bank")]);
    let check = |payload: &[u8], malformed: bool| {
        let verdict = verify(&issuers, &key.sign_raw(br#"{"alg":"HS256"}"#, payload).unwrap());
        let shown = String::from_utf8_lossy(payload);
        assert_eq!(matches!(verdict, Err(TokenError::Malformed(_))), malformed, "{shown}: {verdict:?}");
        assert_eq!(verdict.is_ok(), !malformed, "{shown}: {verdict:?}");
    };
    let good = payload("bank").to_string();
    check(good.as_bytes(), false);
    for name in ["iss", "aud", "sub", "exp", "tenant", "unknown"] {
        let twice = good.replacen('{', &format!("{{\"{name}\":1,\"{name}\":1,"), 1);
        check(twice.as_bytes(), true);
    }
    check(good.replacen('{', r#"{"\u0073ub":"admin","#, 1).as_bytes(), true);
    check(format!("[{good}]").as_bytes(), true);
    check(format!("{good}{good}").as_bytes(), true);
    check(format!("{good}\0").as_bytes(), true);
    check(format!("\u{feff}{good}").as_bytes(), true);
    check(b"", true);
    check(b"\"text\"", true);
    check(&[good.as_bytes(), &[0xff]].concat(), true);
    check(good.replace("user-7", "user-\u{0}7").as_bytes(), true);
}

proptest! {
    /// Whole seconds around now, against the rule in one line each.
    #[test]
    fn dates_are_judged_by_the_rule(
        exp in NOW - 700..NOW + 700,
        nbf in proptest::option::of(NOW - 700..NOW + 700),
        iat in proptest::option::of(NOW - 700..NOW + 700),
        skew in 0..=300_u64,
    ) {
        let mut bank = with_secret("bank");
        bank.issuer.clock_skew_s = skew;
        let issuers = issuers(vec![bank]);
        let token = token(&secret_key("bank"), "bank", |payload| {
            let claims = payload.as_object_mut().unwrap();
            claims.insert("exp".to_owned(), json!(exp));
            claims.retain(|name, _| name != "nbf" && name != "iat");
            claims.extend(nbf.map(|nbf| ("nbf".to_owned(), json!(nbf))));
            claims.extend(iat.map(|iat| ("iat".to_owned(), json!(iat))));
        });
        let early = |from: Option<u64>| from.is_some_and(|from| from > NOW + skew);
        let expected = if NOW >= exp + skew {
            Err(TokenError::Expired)
        } else if early(nbf) || early(iat) {
            Err(TokenError::NotYetValid)
        } else {
            Ok(exp + skew)
        };
        prop_assert_eq!(verify(&issuers, &token).map(|claims| claims.expires_at_s), expected);
    }

    /// Any text at all in any claim that becomes a header is either told as it is, or refused.
    #[test]
    fn no_text_reaches_a_header_that_could_break_it(text in "(?s).{0,300}", name in "sub|sid|scope") {
        let issuers = issuers(vec![with_secret("bank")]);
        let token = token(&secret_key("bank"), "bank", |payload| payload[&name] = json!(text));
        match verify(&issuers, &token) {
            Ok(claims) => {
                let session = claims.session.as_deref().unwrap();
                for told in [&*claims.user, session, &*claims.scopes] {
                    prop_assert!(told.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{told:?}");
                    prop_assert_eq!(told.trim(), told);
                }
                prop_assert!([&*claims.user, session].contains(&&*text) || name == "scope");
            }
            Err(error) => prop_assert!(matches!(error, TokenError::Claim(claim) if claim == name)),
        }
    }
}
