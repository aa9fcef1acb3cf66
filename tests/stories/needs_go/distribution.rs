//! CNCF Distribution 3 as the stranger: another token library than 2.8.2's, the same stories.

use crate::{
    stories::strangers::{refuses_every_push_of_a_limited_robot, takes_our_tokens},
    support::stock::Edition,
};

#[tokio::test]
#[ignore = "needs go, skopeo"]
async fn distribution_3_takes_our_tokens() {
    takes_our_tokens(Edition::Three).await;
}

#[tokio::test]
#[ignore = "needs go, skopeo"]
async fn distribution_3_refuses_every_push_of_a_limited_robot() {
    refuses_every_push_of_a_limited_robot(Edition::Three).await;
}
