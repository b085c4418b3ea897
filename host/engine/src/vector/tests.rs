//! What a call waits for, what ends it, and what a guest reads of the host's own trouble.

use super::*;
use crate::account::Active;
use crate::outbound::tests::{Bench, PATIENCE, Write, context, world};
use crate::request::{Admission, RequestGuard};
use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn call(bench: &Bench, request: Option<&RequestGuard>) -> Call {
    Call {
        world: world(),
        ledger: Arc::clone(&bench.ledger),
        account: TenantAccount::new(&Arc::new(Active::default())),
        call_timeout: PATIENCE,
        operation: Operation::Publish,
        request: request.map(|guard| Arc::clone(&guard.scope)),
        span: None,
    }
}

#[tokio::test]
async fn a_change_begins_when_what_was_written_before_is_durable_and_a_search_at_once() {
    let check = async |writes: &[Write], waits: bool| {
        let bench = Bench::new();
        for write in writes {
            bench.write(*write).await;
        }
        let search = call(&bench, None).search(ready(Ok(7)));
        assert_eq!(search.await.ok(), Some(7), "{writes:?}");
        let has_begun = AtomicBool::new(false);
        let work = async {
            has_begun.store(true, Relaxed);
            Ok(())
        };
        let mut change = Box::pin(call(&bench, None).change(work));
        assert_eq!(futures::poll!(&mut change).is_pending(), waits, "{writes:?}");
        assert_eq!(has_begun.load(Relaxed), !waits, "{writes:?}");
        if waits {
            bench.gate.open();
            assert!(tokio::time::timeout(PATIENCE, change).await.unwrap().is_ok());
            assert!(has_begun.load(Relaxed));
        }
    };
    check(&[], false).await;
    check(&[Write::Set], true).await;
    check(&[Write::Swap], true).await;
    check(&[Write::Increment], true).await;
}

#[tokio::test]
async fn a_search_ends_with_its_request_and_a_change_goes_on() {
    let bench = Bench::new();
    let guard = RequestGuard::new(context(), Admission::default(), "retrieval");
    let mut search = Box::pin(call(&bench, Some(&guard)).search(pending::<Result<(), VectorError>>()));
    let mut change = Box::pin(call(&bench, Some(&guard)).change(pending::<Result<(), VectorError>>()));
    assert!(futures::poll!(&mut search).is_pending() && futures::poll!(&mut change).is_pending());
    let late = call(&bench, Some(&guard));
    drop(guard);
    let ended = tokio::time::timeout(PATIENCE, search).await.unwrap();
    assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
    assert!(futures::poll!(&mut change).is_pending(), "a function may still leave things in order");
    assert!(late.change(ready(Ok(()))).await.is_ok());
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends() {
    let bench = Bench::new();
    let hasty = || Call { call_timeout: Duration::from_millis(1), ..call(&bench, None) };
    for outcome in [
        hasty().search(pending::<Result<(), VectorError>>()).await,
        hasty().change(pending::<Result<(), VectorError>>()).await,
    ] {
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    }
}

#[test]
fn a_guest_reads_no_file_and_no_reason_that_is_for_the_operator() {
    let secret = || "/var/lib/waggle/vector/log at byte 17".to_owned();
    for error in [VectorError::Damaged(secret()), VectorError::Other(secret())] {
        let told = told(error);
        assert!(!format!("{told:?}").contains("/var"), "{told:?}");
    }
    let told = told(VectorError::Full("200 of 200 bytes".into()));
    assert!(matches!(&told, Error::Full(why) if why == "200 of 200 bytes"), "{told:?}");
}
