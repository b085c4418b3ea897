//! Who is let in, and how fast one is out again.

use super::*;
use crate::testing::{
    LOOPBACK, NOW_S, directory, door_of, id, issuer, knock, tenant, tenant_with_key, token,
};
use crate::{Origin, Tenant, TenantId, TenantState};

fn denied(result: Result<Caller, Denied>) -> Denied {
    match result {
        Ok(caller) => panic!("{} was let in", caller.tenant.tenant.id),
        Err(denied) => denied,
    }
}

fn with_issuer(name: &str, generation: u8) -> Tenant {
    let mut tenant = tenant(name);
    tenant.settings.issuers.push(issuer(name, generation));
    tenant
}

#[tokio::test]
async fn without_tenants_this_machine_is_the_default_tenant_and_others_are_refused() {
    let directory = directory();
    let door = Door::new(Arc::clone(&directory));
    for header in [None, Some(&b"Bearer anything"[..]), Some(b"Basic x")] {
        let caller = door.identify(header, LOOPBACK).await.unwrap();
        assert_eq!(caller.tenant.tenant.id, TenantId::default_tenant());
        assert!(caller.user.is_none() && caller.scopes.is_empty());
        assert_eq!(denied(door.identify(header, !LOOPBACK).await), Denied::OpenOnlyOnLoopback);
    }
}

#[tokio::test]
async fn the_door_never_opens_again() {
    let directory = directory();
    let door = Door::new(Arc::clone(&directory));
    directory.replace(Origin::Store, [tenant("bank")]).unwrap();
    directory.replace(Origin::Store, Vec::<Tenant>::new()).unwrap();
    assert_eq!(directory.count(), 0);
    assert_eq!(denied(door.identify(None, LOOPBACK).await), Denied::Missing);
}

#[tokio::test]
async fn an_empty_file_of_tenants_and_a_claim_close_the_door() {
    for close in [
        (|directory: &Directory| {
            directory.replace(Origin::File, Vec::<Tenant>::new()).unwrap();
        }) as fn(&Directory),
        |directory| directory.set_claimed(),
    ] {
        let directory = directory();
        let door = Door::new(Arc::clone(&directory));
        close(&directory);
        assert!(!directory.is_open() && directory.entry(&TenantId::default_tenant()).is_none());
        assert_eq!(denied(door.identify(None, LOOPBACK).await), Denied::Missing);
    }
}

#[tokio::test]
async fn a_header_that_holds_no_credential_is_refused_for_what_it_lacks() {
    let (_directory, door) = door_of(vec![tenant("bank")]);
    let long = format!("Bearer {}", "a".repeat(CREDENTIAL_BYTES_MAX + 1));
    let table: [(&[u8], Denied); 16] = [
        (b"", Denied::Scheme),
        (b"Digest dXNlcg==", Denied::Scheme),
        (b"Basic", Denied::Basic),
        // `user`, `user:password`, `user:` and a token of three parts, and what is no base64.
        (b"Basic dXNlcg==", Denied::Basic),
        (b"Basic dXNlcjpwYXNzd29yZA==", Denied::Basic),
        (b"Basic dXNlcjphLmIuYw==", Denied::Basic),
        (b"Basic !", Denied::Basic),
        (b"BearerX", Denied::Scheme),
        (b"Bearer", Denied::Malformed),
        (b"Bearer ", Denied::Malformed),
        (b"Bearer a b", Denied::Malformed),
        (b"Bearer a\tb", Denied::Malformed),
        (b"Bearer \xff", Denied::Malformed),
        (b"Bearer a\0", Denied::Malformed),
        (long.as_bytes(), Denied::Malformed),
        (b"Bearer wk_x", Denied::UnknownKey),
    ];
    for (header, expected) in table {
        let found = denied(door.identify_at(Some(header), LOOPBACK, NOW_S).await);
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(header));
    }
}

#[tokio::test]
async fn a_key_is_its_tenants_whatever_the_case_of_the_scheme() {
    let (bank, key) = tenant_with_key("bank");
    let (shop, other) = tenant_with_key("shop");
    let (_directory, door) = door_of(vec![bank, shop]);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {}", key.expose());
        let caller = door.identify_at(Some(header.as_bytes()), !LOOPBACK, NOW_S).await.unwrap();
        assert_eq!(caller.tenant.tenant.id, id("bank"));
        assert_eq!(&*caller.scopes, "chat read");
        assert!(caller.user.is_none() && caller.session.is_none());
    }
    assert_eq!(knock(&door, other.expose()).await.unwrap().tenant.tenant.id, id("shop"));
}

#[tokio::test]
async fn a_key_may_come_as_a_password_under_any_user_name() {
    let (bank, key) = tenant_with_key("bank");
    let (_directory, door) = door_of(vec![bank]);
    let basic = |pair: String| format!("basic {}", STANDARD.encode(pair));
    for user in ["", "waggle", "chatwoot@example.com"] {
        let header = basic(format!("{user}:{}", key.expose()));
        let caller = door.identify_at(Some(header.as_bytes()), !LOOPBACK, NOW_S).await.unwrap();
        assert_eq!((caller.tenant.tenant.id.clone(), &*caller.scopes), (id("bank"), "chat read"));
    }
    let wrong = basic(format!("waggle:{}x", key.expose()));
    let refused = denied(door.identify_at(Some(wrong.as_bytes()), !LOOPBACK, NOW_S).await);
    assert_eq!(refused, Denied::UnknownKey);
    let long = basic(format!("{}:{}", "a".repeat(CREDENTIAL_BYTES_MAX), key.expose()));
    let refused = denied(door.identify_at(Some(long.as_bytes()), !LOOPBACK, NOW_S).await);
    assert_eq!(refused, Denied::Basic);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_are_told_alike() {
    let (bank, key) = tenant_with_key("bank");
    let (_, unknown) = tenant_with_key("bank");
    let (_directory, door) = door_of(vec![bank]);
    let mut wrong = key.expose().to_owned();
    let last = if wrong.pop() == Some('A') { 'E' } else { 'A' };
    wrong.push(last);
    let shorter = &key.expose()[..key.expose().len() - 1];
    let mut messages: Vec<String> = Vec::new();
    for credential in [wrong.as_str(), unknown.expose(), shorter, "wk_"] {
        messages.push(format!("{0} {0:?}", denied(knock(&door, credential).await)));
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
}

#[tokio::test]
async fn a_key_counts_until_it_expires_and_its_last_use_is_known() {
    let (mut bank, key) = tenant_with_key("bank");
    bank.settings.api_keys[0].expires_at = Some(NOW_S);
    let key_id = bank.settings.api_keys[0].id.clone();
    let (directory, door) = door_of(vec![bank]);
    let header = format!("Bearer {}", key.expose());
    let at = |now_s| door.identify_at(Some(header.as_bytes()), !LOOPBACK, now_s);
    assert_eq!(directory.entry(&id("bank")).unwrap().last_used(&key_id), None);
    at(NOW_S - 1).await.unwrap();
    at(NOW_S - 9).await.unwrap();
    assert_eq!(denied(at(NOW_S).await), Denied::KeyExpired);
    assert_eq!(directory.entry(&id("bank")).unwrap().last_used(&key_id), Some(NOW_S - 1));
}

#[tokio::test]
async fn the_last_use_of_a_key_survives_a_change_of_its_tenant() {
    let (mut bank, key) = tenant_with_key("bank");
    let key_id = bank.settings.api_keys[0].id.clone();
    let (directory, door) = door_of(vec![bank.clone()]);
    knock(&door, key.expose()).await.unwrap();
    bank.settings.name = "The bank".to_owned();
    directory.replace(Origin::File, [bank]).unwrap();
    assert_eq!(directory.entry(&id("bank")).unwrap().last_used(&key_id), Some(NOW_S));
}

#[tokio::test]
async fn a_token_names_its_user_and_is_remembered_without_its_text() {
    let (_directory, door) = door_of(vec![with_issuer("bank", 1)]);
    let token = token("bank", 1, NOW_S + 10);
    for _ in 0..2 {
        let caller = knock(&door, &token).await.unwrap();
        assert_eq!((caller.tenant.tenant.id.as_str(), caller.user.as_deref()), ("bank", Some("ada")));
        assert_eq!(&*caller.scopes, "chat");
    }
    assert_eq!(door.verified.len(), 1);
    assert!(door.verified.get(&CredentialHash::of(token.as_bytes())).is_some());
}

#[tokio::test]
async fn a_remembered_token_expires_with_itself() {
    let (_directory, door) = door_of(vec![with_issuer("bank", 1)]);
    let header = format!("Bearer {}", token("bank", 1, NOW_S + 10));
    let at = |now_s| door.identify_at(Some(header.as_bytes()), !LOOPBACK, now_s);
    at(NOW_S).await.unwrap();
    at(NOW_S + 9).await.unwrap();
    assert_eq!(denied(at(NOW_S + 11).await), Denied::Token(TokenError::Expired));
    assert_eq!(door.verified.len(), 0);
}

#[tokio::test]
async fn a_token_is_verified_again_before_long() {
    let (_directory, door) = door_of(vec![with_issuer("bank", 1)]);
    let token = token("bank", 1, NOW_S + 1_000);
    let header = format!("Bearer {token}");
    let at = |now_s| door.identify_at(Some(header.as_bytes()), !LOOPBACK, now_s);
    at(NOW_S).await.unwrap();
    let until = || door.verified.get(&CredentialHash::of(token.as_bytes())).unwrap().until_s;
    assert_eq!(until(), NOW_S + VERIFIED_TOKEN_S_MAX);
    at(NOW_S + VERIFIED_TOKEN_S_MAX).await.unwrap();
    assert_eq!(until(), NOW_S + 2 * VERIFIED_TOKEN_S_MAX);
}

/// Lets both kinds of credential in, makes the change, and knocks again.
async fn check_next(change: impl Fn(&mut Vec<Tenant>), key_answer: Denied, token_answer: Denied) {
    let (mut bank, key) = tenant_with_key("bank");
    bank.settings.issuers.push(issuer("bank", 1));
    let mut tenants = vec![bank, tenant("shop")];
    let (directory, door) = door_of(tenants.clone());
    let token = token("bank", 1, NOW_S + 1_000);
    for _ in 0..2 {
        knock(&door, key.expose()).await.unwrap();
        knock(&door, &token).await.unwrap();
    }
    change(&mut tenants);
    directory.replace(Origin::File, tenants).unwrap();
    assert_eq!(denied(knock(&door, key.expose()).await), key_answer);
    assert_eq!(denied(knock(&door, &token).await), token_answer);
}

#[tokio::test]
async fn suspending_counts_with_the_next_request() {
    let suspend = |tenants: &mut Vec<Tenant>| tenants[0].settings.state = TenantState::Suspended;
    check_next(suspend, Denied::Suspended, Denied::Suspended).await;
}

#[tokio::test]
async fn removing_counts_with_the_next_request() {
    let remove = |tenants: &mut Vec<Tenant>| drop(tenants.remove(0));
    check_next(remove, Denied::UnknownKey, Denied::Token(TokenError::UnknownIssuer)).await;
}

#[tokio::test]
async fn revoking_counts_with_the_next_request() {
    let revoke = |tenants: &mut Vec<Tenant>| {
        tenants[0].settings.api_keys.clear();
        tenants[0].settings.issuers.clear();
    };
    check_next(revoke, Denied::UnknownKey, Denied::Token(TokenError::UnknownIssuer)).await;
}

#[tokio::test]
async fn another_key_of_the_issuer_counts_with_the_next_request() {
    let (directory, door) = door_of(vec![with_issuer("bank", 1)]);
    let (old, new) = (token("bank", 1, NOW_S + 99), token("bank", 2, NOW_S + 99));
    knock(&door, &old).await.unwrap();
    assert!(knock(&door, &new).await.is_err());
    directory.replace(Origin::File, [with_issuer("bank", 2)]).unwrap();
    assert!(knock(&door, &old).await.is_err());
    knock(&door, &new).await.unwrap();
}

#[tokio::test]
async fn keys_that_changed_without_their_tenant_count_with_the_next_request() {
    let (directory, door) = door_of(vec![with_issuer("bank", 1)]);
    let token = token("bank", 1, NOW_S + 99);
    knock(&door, &token).await.unwrap();
    // As when a key set that is a file was read again.
    directory.issuers().replace(Vec::new());
    assert_eq!(denied(knock(&door, &token).await), Denied::Token(TokenError::UnknownIssuer));
}

#[tokio::test]
async fn another_tenants_change_forgets_nobodys_token() {
    let (directory, door) = door_of(vec![with_issuer("bank", 1), tenant("shop")]);
    let token = token("bank", 1, NOW_S + 99);
    knock(&door, &token).await.unwrap();
    let remembered = || door.verified.get(&CredentialHash::of(token.as_bytes())).unwrap();
    let before = remembered();
    let mut shop = tenant("shop");
    shop.settings.name = "The shop".to_owned();
    directory.replace(Origin::File, [with_issuer("bank", 1), shop]).unwrap();
    knock(&door, &token).await.unwrap();
    assert!(Arc::ptr_eq(&before, &remembered()));
    assert_eq!(before.directory_generation.load(Ordering::Relaxed), directory.snapshot().generation);
}

#[tokio::test]
async fn the_number_of_remembered_tokens_is_bounded() {
    let (_directory, mut door) = door_of(vec![with_issuer("bank", 1)]);
    door.verified = Cache::new(8);
    for lifetime in 0..100 {
        knock(&door, &token("bank", 1, NOW_S + 10 + lifetime)).await.unwrap();
    }
    assert!(door.verified.len() <= 8, "{}", door.verified.len());
}

#[test]
fn no_message_holds_a_credential() {
    let basic = format!("Basic {}", STANDARD.encode("user:secret"));
    for header in [&b"Bearer secret secret"[..], basic.as_bytes(), b"Basic secret!"] {
        let text = format!("{0} {0:?}", credential(header).unwrap_err());
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn no_token_of_a_replaced_issuer_slips_in_while_others_knock() {
    const ROUNDS: u8 = 100;
    let (directory, door) = door_of(vec![with_issuer("bank", 0)]);
    let block_on = |credential: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(knock(&door, credential))
    };
    let tokens: Vec<String> = (0..=ROUNDS).map(|round| token("bank", round, NOW_S + 99)).collect();
    let current = AtomicU64::new(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let round = usize::try_from(current.load(Ordering::Relaxed)).unwrap();
                    let _ = block_on(&tokens[round]);
                }
            });
        }
        for round in 1..=ROUNDS {
            block_on(&tokens[usize::from(round) - 1]).unwrap();
            directory.replace(Origin::File, [with_issuer("bank", round)]).unwrap();
            for _ in 0..3 {
                let late = denied(block_on(&tokens[usize::from(round) - 1]));
                assert!(matches!(late, Denied::Token(_)), "{late}");
            }
            current.store(u64::from(round), Ordering::Relaxed);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn why_keys_cannot_be_had_is_not_told_to_the_caller() {
    let denied = Denied::from(TokenError::KeysUnavailable("/etc/waggle/jwks.json: no such file".to_owned()));
    assert!(denied.is_temporary() && !Denied::UnknownKey.is_temporary());
    assert_eq!(denied.to_string(), "the token's issuer cannot be asked at the moment");
}
