//! How much is kept and read at once.

use shared::{
    database::{Operation, Transaction},
    revocation::Revoked,
};

use super::{
    events::{failure, token},
    fixture::{Fixture, on_both},
};
use crate::accounts::{
    Failure, Refusal,
    events::MAX_WAITING,
    revocations::{MAX_FEED_ROWS, revoke},
};

on_both! {
    an_answer_of_the_feed_has_as_many_rows_as_the_limit_says
    as_many_events_wait_as_the_limit_says_and_the_rest_is_counted
}

/// Writes so many rows of the feed.
struct Revocations(u32);

impl Operation for Revocations {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "revocations";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        for principal in 0..self.0 {
            revoke(tx, &Revoked::Principal(principal.into())).await?;
        }
        Ok(())
    }
}

async fn an_answer_of_the_feed_has_as_many_rows_as_the_limit_says(fixture: &Fixture) {
    fixture.accounts.database.write(Revocations(MAX_FEED_ROWS + 1)).await.unwrap();
    let first = fixture.accounts.revocations_after(0).await.unwrap();
    assert_eq!(first.len(), 1000);
    let rest = fixture.accounts.revocations_after(first.last().unwrap().seq).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].subject, Revoked::Principal(MAX_FEED_ROWS.into()));
}

async fn as_many_events_wait_as_the_limit_says_and_the_rest_is_counted(fixture: &Fixture) {
    for number in 0..MAX_WAITING {
        fixture.accounts.note_token(token(fixture, "", ""));
        fixture.accounts.note_failed_login(failure(&number.to_string()));
    }
    assert_eq!(fixture.accounts.waiting_events(), (MAX_WAITING, MAX_WAITING));
    assert_eq!(fixture.accounts.left_out_events(), 0);
    fixture.accounts.note_token(token(fixture, "", ""));
    fixture.accounts.note_failed_login(failure("one more"));
    fixture.accounts.note_failed_login(failure("0"));
    assert_eq!(fixture.accounts.waiting_events(), (MAX_WAITING, MAX_WAITING));
    assert_eq!(fixture.accounts.left_out_events(), 2, "what is known already is counted with its like");
}
