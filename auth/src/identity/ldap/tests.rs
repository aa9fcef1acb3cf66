//! What a directory gets to see and what becomes of what it says: by a directory that lies, and by a real one.

pub(crate) mod alone;
mod failover;
pub(crate) mod fake;
mod greedy;
pub(crate) mod samba;
pub(crate) mod slapd;
mod strange;
mod true_crowd;
mod true_groups;
mod true_one;

use super::{
    Ldap,
    config::{Config, ExternalId, Limits, Scope, Searcher, Server, Tls, Users},
    names::Filter,
};
use crate::accounts::ProviderId;

/// A directory with these servers, without TLS unless the URL says so.
pub(crate) fn config(urls: &[String]) -> Config {
    Config {
        name: "corp".parse().unwrap(),
        servers: urls.iter().map(|url| Server::from_url(url, true).unwrap()).collect(),
        tls: Tls::default(),
        searcher: Searcher::Anonymous,
        template: None,
        users: Users {
            base: "ou=people,dc=corp,dc=test".to_owned(),
            scope: Scope::Subtree,
            filter: Filter::everything(),
            login: vec!["uid".parse().unwrap()],
            name: "uid".parse().unwrap(),
            id: ExternalId::EntryUuid,
            display: "cn".parse().unwrap(),
        },
        groups: None,
        limits: Limits::default(),
    }
}

pub(crate) fn ldap(config: Config) -> Ldap {
    shared::crypto::install();
    Ldap::new(ProviderId(1), config).unwrap()
}
