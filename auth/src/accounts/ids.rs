//! Numbers that name rows.

use super::stored::row_id;

row_id! {
    /// A user or a robot. Tokens carry it as `pid`.
    PrincipalId
}
row_id! {
    /// One stored secret. Tokens carry it as `cid`.
    CredentialId
}
row_id! {
    /// A namespace's life: a recreated one has another id.
    NamespaceId
}
row_id! {
    /// A team.
    TeamId
}
row_id! {
    /// A grant or a guardrail.
    GrantId
}
row_id! {
    /// A registry that knows this server.
    ServiceId
}
row_id! {
    /// Where identities come from.
    ProviderId
}

impl NamespaceId {
    /// The system's own: users belong to it, and grants whose first segment is a wildcard.
    pub const SYSTEM: Self = Self(0);
}
