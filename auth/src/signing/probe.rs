//! What the doctor shows to registries: a token of ours that grants nothing, and the same signed by nobody.

use shared::clock::Timestamp;

use super::{Signing, SigningError, signing_key};
use crate::{
    accounts::signing::KeyState,
    issuer::{Bearer, Issued, Issuer, KeySet, MIN_LIFE, NotSigned, Order},
    pki,
};

/// The key that signs now, as far as others can know it.
#[derive(Debug, Clone)]
pub struct Active {
    /// Its id in tokens' headers.
    pub kid: String,
    /// When its certificate begins.
    pub begins: Option<Timestamp>,
    /// When it ends.
    pub ends: Option<Timestamp>,
    /// Whether the bundle vouches for it.
    pub chained: bool,
}

impl Signing {
    /// A token that grants nothing, for `audience`, under our own `iss` or the one that is said. It lives a minute.
    ///
    /// # Errors
    /// [`NotSigned`]
    pub fn probe(&self, audience: &str, issuer: Option<&str>, epoch: u64) -> Result<Issued, NotSigned> {
        let ours = self.issuer();
        let named = issuer.map_or_else(|| ours.clone(), |name| ours.named(name));
        named.issue(nothing(&Bearer::default(), audience, epoch), self.0.clock.now())
    }

    /// The same, signed by a key that was made just now under an authority that nobody has.
    ///
    /// # Errors
    /// [`SigningError`]
    pub fn stranger(&self, audience: &str, epoch: u64) -> Result<Issued, SigningError> {
        let now = self.0.clock.now();
        let keys = KeySet::new(signing_key(&pki::stranger(now)?)?, Vec::new());
        let issued = Issuer::new(self.issuer().name(), keys).issue(nothing(&Bearer::default(), audience, epoch), now);
        Ok(issued?)
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn active(&self) -> Result<Active, SigningError> {
        let (parts, now) = (&*self.0, self.0.clock.now());
        let kid = self.issuer().keys().signing().public().id().as_str().to_owned();
        let stored = parts.accounts.signing_keys(false).await?;
        let found = stored.into_iter().find(|key| key.state == KeyState::Active && key.kid == kid);
        Ok(match found {
            Some(key) => Active {
                begins: parts.authority.begins(&key.certificate),
                ends: parts.authority.ends(&key.certificate),
                chained: parts.authority.vouches_for(&key.certificate, now),
                kid,
            },
            // A key that the operator brings lies in a file, and its leaf is made anew at every start.
            None => Active { kid, begins: None, ends: None, chained: parts.authority.is_brought() },
        })
    }
}

/// The epoch is of now: a token of an earlier one is refused wherever all tokens were revoked.
fn nothing<'a>(bearer: &'a Bearer, audience: &'a str, epoch: u64) -> Order<'a> {
    Order { bearer, audience, epoch, access: Vec::new(), short: Vec::new(), life: MIN_LIFE }
}
