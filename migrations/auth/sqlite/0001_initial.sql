-- Auth's tables, complete from the first migration: later features add behaviour, not columns to rewrite.
-- Ids are never used again (AUTOINCREMENT), because tokens, grants and audit events outlive rows and name them by id.
-- Times are microseconds since the epoch, UTC; durations are microseconds. The same tables for PostgreSQL stand in ../postgres.

-- Id 0 is the system's own: users belong to it, and grants whose first segment is a wildcard.
CREATE TABLE namespace (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,
    visibility  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX namespace_living_name ON namespace (name) WHERE deleted_at IS NULL;
INSERT INTO namespace (id, name, visibility, created_at) VALUES (0, '', 'private', 0);

-- The registries that know this server: tokens are made for them, and their credential opens the revocation feed.
CREATE TABLE service (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL UNIQUE,
    catalog   TEXT    NOT NULL,
    ttl_us    INTEGER,
    verifier  TEXT    UNIQUE
) STRICT;

-- Users and robots share one table, so that no name can mean two of them. `folded` is what is compared.
CREATE TABLE principal (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    handle        TEXT    NOT NULL,
    folded        TEXT    NOT NULL UNIQUE,
    display_name  TEXT    NOT NULL DEFAULT '',
    namespace_id  INTEGER NOT NULL REFERENCES namespace (id),
    system_role   TEXT,
    state         TEXT    NOT NULL,
    expires_at    INTEGER,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX principal_namespace ON principal (namespace_id, kind, folded);

-- Networks from which an account has signed in: they have throttling buckets of their own.
CREATE TABLE known_network (
    principal_id  INTEGER NOT NULL REFERENCES principal (id),
    network       TEXT    NOT NULL,
    seen_at       INTEGER NOT NULL,
    PRIMARY KEY (principal_id, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_network_seen ON known_network (seen_at);

CREATE TABLE provider (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    kind           TEXT    NOT NULL,
    settings       TEXT    NOT NULL DEFAULT '{}',
    sealed_secret  BLOB,
    admission      TEXT,
    enabled        INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE identity (
    provider_id    INTEGER NOT NULL REFERENCES provider (id),
    external_id    TEXT    NOT NULL,
    principal_id   INTEGER NOT NULL REFERENCES principal (id),
    external_name  TEXT    NOT NULL,
    groups         TEXT,
    groups_at      INTEGER,
    seen_at        INTEGER,
    PRIMARY KEY (provider_id, external_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_principal ON identity (principal_id);

-- One stored secret each. `lookup` finds those that carry it; `verifier` is an HMAC, a PHC string, or a provider's fingerprint.
CREATE TABLE credential (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    principal_id  INTEGER NOT NULL REFERENCES principal (id),
    kind          TEXT    NOT NULL,
    lookup        TEXT    UNIQUE,
    verifier      TEXT    NOT NULL,
    master_id     TEXT,
    name          TEXT    NOT NULL DEFAULT '',
    scope         TEXT,
    networks      TEXT,
    api           TEXT    NOT NULL DEFAULT 'none',
    service_id    INTEGER REFERENCES service (id),
    rule_id       INTEGER,
    idle_us       INTEGER,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    used_at       INTEGER,
    used_from     TEXT,
    revoked_at    INTEGER
) STRICT;
CREATE INDEX credential_live ON credential (principal_id, kind, service_id) WHERE revoked_at IS NULL;

CREATE TABLE team (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id  INTEGER NOT NULL REFERENCES namespace (id),
    name          TEXT    NOT NULL,
    UNIQUE (namespace_id, name)
) STRICT;

-- `source` is 'hand' or the id of the provider whose groups feed the team; a member may be there for several reasons.
CREATE TABLE team_member (
    team_id       INTEGER NOT NULL REFERENCES team (id),
    principal_id  INTEGER NOT NULL REFERENCES principal (id),
    source        TEXT    NOT NULL,
    PRIMARY KEY (team_id, principal_id, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX team_member_principal ON team_member (principal_id, team_id);

CREATE TABLE team_mapping (
    team_id      INTEGER NOT NULL REFERENCES team (id),
    provider_id  INTEGER NOT NULL REFERENCES provider (id),
    group_key    TEXT    NOT NULL,
    PRIMARY KEY (team_id, provider_id, group_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX team_mapping_group ON team_mapping (provider_id, group_key);

-- `effect` is allow (a grant) or deny (a guardrail).
CREATE TABLE grants (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id    INTEGER NOT NULL REFERENCES namespace (id),
    subject         TEXT    NOT NULL,
    subject_id      INTEGER,
    pattern         TEXT    NOT NULL,
    literal_prefix  TEXT    NOT NULL,
    actions         TEXT    NOT NULL,
    tags            TEXT,
    effect          TEXT    NOT NULL,
    expires_at      INTEGER,
    given_by        INTEGER REFERENCES principal (id),
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX grants_subject ON grants (subject, subject_id);
CREATE INDEX grants_namespace ON grants (namespace_id, id);

CREATE TABLE trusted_issuer (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    url         TEXT    NOT NULL UNIQUE,
    jwks        TEXT,
    jwks_at     INTEGER,
    ca          TEXT,
    algorithms  TEXT    NOT NULL
) STRICT;

CREATE TABLE federation_rule (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    trusted_issuer_id  INTEGER NOT NULL REFERENCES trusted_issuer (id),
    principal_id       INTEGER NOT NULL REFERENCES principal (id),
    audience           TEXT    NOT NULL,
    conditions         TEXT    NOT NULL,
    life_us            INTEGER NOT NULL,
    enabled            INTEGER NOT NULL DEFAULT 1,
    given_by           INTEGER REFERENCES principal (id)
) STRICT;
CREATE INDEX federation_rule_principal ON federation_rule (principal_id);

CREATE TABLE replay (
    trusted_issuer_id  INTEGER NOT NULL REFERENCES trusted_issuer (id),
    jti_hash           BLOB    NOT NULL,
    expires_at         INTEGER NOT NULL,
    PRIMARY KEY (trusted_issuer_id, jti_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_expires ON replay (expires_at);

CREATE TABLE signing_key (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kid         TEXT    NOT NULL UNIQUE,
    algorithm   TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    sealed_key  BLOB    NOT NULL,
    chain       TEXT    NOT NULL,
    master_id   TEXT    NOT NULL,
    not_after   INTEGER NOT NULL
) STRICT;

CREATE TABLE counter (
    name   TEXT    PRIMARY KEY,
    value  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('revocation', 0);

CREATE TABLE leader (
    name        TEXT    PRIMARY KEY,
    holder      TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `seq` is taken from the counter row in the operation that revokes, so that a reader of the feed sees no gap and no late row.
CREATE TABLE revocation (
    seq      INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    until    INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_until ON revocation (until);

CREATE TABLE session (
    id_hash       BLOB    PRIMARY KEY,
    principal_id  INTEGER REFERENCES principal (id),
    record        TEXT    NOT NULL,
    fresh_until   INTEGER,
    idle_at       INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    address       TEXT    NOT NULL,
    agent         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_principal ON session (principal_id);
CREATE INDEX session_idle ON session (idle_at);

CREATE TABLE sign_in (
    state_hash    BLOB    PRIMARY KEY,
    session_hash  BLOB    NOT NULL,
    provider_id   INTEGER NOT NULL REFERENCES provider (id),
    sealed        BLOB    NOT NULL,
    next_path     TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_expires ON sign_in (expires_at);

CREATE TABLE device (
    device_hash     BLOB    PRIMARY KEY,
    user_code_hash  BLOB    NOT NULL UNIQUE,
    client          TEXT    NOT NULL,
    service_id      INTEGER REFERENCES service (id),
    scope           TEXT    NOT NULL,
    principal_id    INTEGER REFERENCES principal (id),
    state           TEXT    NOT NULL,
    tries           INTEGER NOT NULL DEFAULT 0,
    polled_at       INTEGER,
    expires_at      INTEGER NOT NULL,
    address         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_expires ON device (expires_at);

-- An event commits with its change, without a number; one sealer numbers and chains events afterwards. `body` is hashed as it stands.
CREATE TABLE audit (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    event          TEXT    NOT NULL,
    actor_id       INTEGER,
    credential_id  INTEGER,
    namespace_id   INTEGER,
    outcome        TEXT    NOT NULL,
    body           TEXT    NOT NULL,
    seq            INTEGER UNIQUE,
    hash           BLOB
) STRICT;
CREATE INDEX audit_unsealed ON audit (id) WHERE seq IS NULL;

CREATE TABLE audit_checkpoint (
    seq        INTEGER PRIMARY KEY,
    hash       BLOB    NOT NULL,
    signature  BLOB    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;
