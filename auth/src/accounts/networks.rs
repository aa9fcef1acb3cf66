//! Networks: where a credential may be used from, and where an account has signed in before.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
pub use shared::network::Network;
use shared::{
    database::{Operation, Transaction},
    network::MalformedNetwork,
    on,
};
use utoipa::ToSchema;

use super::{Accounts, Error, Failure, PrincipalId, Refusal};

/// Most networks one credential can be limited to.
pub const MAX_NETWORKS: usize = 16;
/// How long a network counts as known after a sign-in from it.
pub const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// A known network is written again when its last mention is older than this.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Not a list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// One of them is none.
    #[error(transparent)]
    Malformed(#[from] MalformedNetwork),
    /// None, or too many.
    #[error("a credential is limited to 1 to {MAX_NETWORKS} networks")]
    Count,
}

/// A list of networks, stored with spaces between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[schema(value_type = Vec<String>, example = json!(["10.0.0.0/8"]))]
pub struct Networks(Vec<Network>);

impl Networks {
    /// True if one of them has the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        Self::try_from(text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }
}

impl TryFrom<Vec<String>> for Networks {
    type Error = NetworkError;

    fn try_from(texts: Vec<String>) -> Result<Self, NetworkError> {
        if texts.is_empty() || texts.len() > MAX_NETWORKS {
            return Err(NetworkError::Count);
        }
        Ok(Self(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?))
    }
}

impl From<Networks> for Vec<String> {
    fn from(networks: Networks) -> Self {
        networks.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::<String>::from(self.clone()).join(" "))
    }
}

impl Accounts {
    /// True if the account signed in from that network in the last [`KNOWN_FOR`].
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn is_known_network(&self, principal: PrincipalId, network: &Network) -> Result<bool, Error> {
        let since = self.clock.now() - KNOWN_FOR;
        let mut reader = self.database.reader().await?;
        let found: Option<(i64,)> = on!(reader, c => sqlx::query_as(
            "SELECT seen_at FROM known_network WHERE principal_id = $1 AND network = $2 AND seen_at > $3")
            .bind(principal.0).bind(network.to_string()).bind(since.micros()).fetch_optional(c).await)?;
        Ok(found.is_some())
    }

    /// Remembers a network from which somebody signed in with the right password; at most one write a day.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn note_network(&self, principal: PrincipalId, network: &Network) -> Result<(), Error> {
        let fresh = self.clock.now() - RENEWED_AFTER;
        let mut reader = self.database.reader().await?;
        let found: Option<(i64,)> = on!(reader, c => sqlx::query_as(
            "SELECT seen_at FROM known_network WHERE principal_id = $1 AND network = $2 AND seen_at > $3")
            .bind(principal.0).bind(network.to_string()).bind(fresh.micros()).fetch_optional(c).await)?;
        drop(reader);
        if found.is_none() {
            self.database.write(NoteNetwork { principal, network: network.to_string() }).await?;
        }
        Ok(())
    }

    /// Forgets the networks that no longer count as known.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn forget_old_networks(&self) -> Result<u64, Error> {
        Ok(self.database.write(ForgetNetworks).await?)
    }
}

struct ForgetNetworks;

impl Operation for ForgetNetworks {
    type Output = u64;
    type Refusal = Refusal;
    const NAME: &'static str = "forget_networks";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, Failure> {
        let before = (tx.now() - KNOWN_FOR).micros();
        Ok(on!(tx, c => sqlx::query("DELETE FROM known_network WHERE seen_at < $1")
            .bind(before).execute(c).await.map(|done| done.rows_affected()))?)
    }
}

struct NoteNetwork {
    principal: PrincipalId,
    network: String,
}

impl Operation for NoteNetwork {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "note_network";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let now = tx.now();
        on!(tx, c => sqlx::query("DELETE FROM known_network WHERE principal_id = $1 AND seen_at < $2")
            .bind(self.principal.0).bind((now - KNOWN_FOR).micros()).execute(c).await.map(drop))?;
        on!(tx, c => sqlx::query(
            "INSERT INTO known_network (principal_id, network, seen_at) VALUES ($1, $2, $3) \
             ON CONFLICT (principal_id, network) DO UPDATE SET seen_at = excluded.seen_at")
            .bind(self.principal.0).bind(&self.network).bind(now.micros()).execute(c).await.map(drop))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// A list is stored as text: one that came back wider would let a credential in from elsewhere.
        #[test]
        fn a_list_is_stored_and_read_again_as_the_same(addresses in vec(any::<IpAddr>(), 1..=MAX_NETWORKS)) {
            let texts: Vec<String> = addresses.iter().map(|address| Network::around(*address).to_string()).collect();
            let networks = Networks::try_from(texts.clone()).unwrap();
            prop_assert_eq!(networks.to_string(), texts.join(" "));
            prop_assert_eq!(networks.to_string().parse::<Networks>(), Ok(networks.clone()));
            prop_assert!(addresses.iter().all(|address| networks.contains(*address)));
            let json = serde_json::to_string(&networks).unwrap();
            prop_assert_eq!(serde_json::from_str::<Networks>(&json).unwrap(), networks);
        }

        #[test]
        fn any_text_at_all_is_a_list_that_is_read_again_or_refused(text in "[0-9a-f.:/ ]{0,40}|.{0,12}") {
            if let Ok(networks) = text.parse::<Networks>() {
                prop_assert_eq!(networks.to_string().parse::<Networks>(), Ok(networks));
            }
        }
    }

    #[test]
    fn a_list_matches_by_any_of_its_networks() {
        let networks: Networks = "10.0.0.0/8 2001:db8::/32".parse().unwrap();
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1"] {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.0", "2001:db9::1", "::1"] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!("".parse::<Networks>().is_err());
        assert!(vec!["10.0.0.0/8"; MAX_NETWORKS].join(" ").parse::<Networks>().is_ok());
        assert!(vec!["10.0.0.0/8"; MAX_NETWORKS + 1].join(" ").parse::<Networks>().is_err());
    }
}
