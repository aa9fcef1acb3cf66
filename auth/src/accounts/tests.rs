//! Every operation, on both databases.

mod credentials;
mod events;
pub(crate) mod fixture;
mod limits;
mod memberships;
mod principals;
mod providers;
mod recent;
mod rules;
mod trail;
mod versions;
