-- The registry's tables, complete from the first migration: later features add behaviour, not columns to rewrite.
-- Digests are `algorithm:hex`. Times are microseconds since the epoch, UTC. Text is compared bytewise.
-- The same tables for SQLite stand in ../sqlite.
-- Ids of blobs, manifests and repositories are never used again: caches and collectors remember them between two looks.

-- Quota (bytes, NULL is unlimited) and rules of a namespace, by name; who may enter it is auth's affair.
CREATE TABLE namespace (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    TEXT COLLATE "C" NOT NULL UNIQUE,
    quota   BIGINT,
    policy  TEXT
);

-- Bytes: used = the namespace's distinct blobs and manifest payloads; reserved = what running uploads may still add.
CREATE TABLE usage (
    namespace_id  BIGINT PRIMARY KEY REFERENCES namespace (id),
    used          BIGINT NOT NULL DEFAULT 0,
    reserved      BIGINT NOT NULL DEFAULT 0
);

-- How many repositories of a namespace link a blob: used bytes change where it goes 0 -> 1 and 1 -> 0. No reference to blob,
-- because checking it at every deletion of a blob would need an index that nothing else uses.
CREATE TABLE namespace_blob (
    namespace_id  BIGINT NOT NULL REFERENCES namespace (id),
    blob_id       BIGINT NOT NULL,
    links         BIGINT NOT NULL,
    PRIMARY KEY (namespace_id, blob_id)
);

CREATE TABLE repository (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id  BIGINT NOT NULL REFERENCES namespace (id),
    name          TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX repository_living_name ON repository (name) WHERE deleted_at IS NULL;

-- One row per digest. state: live | damaged. verified_at: when its bytes were last hashed and found right.
CREATE TABLE blob (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       TEXT COLLATE "C" NOT NULL UNIQUE,
    size         BIGINT NOT NULL,
    store        TEXT    NOT NULL,
    storage_key  TEXT COLLATE "C" NOT NULL UNIQUE,
    state        TEXT    NOT NULL,
    verified_at  BIGINT
);

-- A repository's right to a blob. expires_at is NULL while a kept manifest of the repository names the blob.
-- leased_by: whose promise runs until leased_until; NULL where several holders share it.
CREATE TABLE link (
    repository_id  BIGINT NOT NULL REFERENCES repository (id),
    blob_id        BIGINT NOT NULL REFERENCES blob (id),
    expires_at     BIGINT,
    leased_until   BIGINT NOT NULL,
    leased_by      TEXT,
    PRIMARY KEY (repository_id, blob_id)
);
CREATE INDEX link_blob ON link (blob_id, repository_id);
CREATE INDEX link_expiry ON link (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE manifest (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id   BIGINT NOT NULL REFERENCES repository (id),
    digest          TEXT COLLATE "C" NOT NULL,
    media_type      TEXT    NOT NULL,
    size            BIGINT NOT NULL,
    artifact_type   TEXT COLLATE "C",
    subject_digest  TEXT COLLATE "C",
    annotations     TEXT,
    pushed_at       BIGINT NOT NULL,
    expires_at      BIGINT,
    deleted_at      BIGINT,
    UNIQUE (repository_id, digest)
);
CREATE INDEX manifest_subject ON manifest (repository_id, subject_digest, digest) WHERE subject_digest IS NOT NULL;
CREATE INDEX manifest_subject_type ON manifest (repository_id, subject_digest, artifact_type, digest) WHERE subject_digest IS NOT NULL;
CREATE INDEX manifest_expiry ON manifest (expires_at) WHERE expires_at IS NOT NULL;
-- Expired manifests that are not deleted may stay for ever: whoever looks for those to purge must not walk through them.
CREATE INDEX manifest_purge ON manifest (expires_at) WHERE deleted_at IS NOT NULL;

-- Apart from its row, so that scans of manifests stay small.
CREATE TABLE manifest_payload (
    manifest_id  BIGINT PRIMARY KEY REFERENCES manifest (id) ON DELETE CASCADE,
    payload      BYTEA NOT NULL
);

-- What a manifest names, by digest within the repository: the blob or the child may come later.
CREATE TABLE manifest_blob (
    repository_id  BIGINT NOT NULL,
    digest         TEXT COLLATE "C" NOT NULL,
    manifest_id    BIGINT NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (repository_id, digest, manifest_id)
);
CREATE INDEX manifest_blob_manifest ON manifest_blob (manifest_id);

CREATE TABLE manifest_child (
    repository_id  BIGINT NOT NULL,
    digest         TEXT COLLATE "C" NOT NULL,
    manifest_id    BIGINT NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (repository_id, digest, manifest_id)
);
CREATE INDEX manifest_child_manifest ON manifest_child (manifest_id);

-- A deleted tag keeps its row, with manifest_id NULL: the order of a tag's history is its version, never the time.
CREATE TABLE tag (
    repository_id  BIGINT NOT NULL REFERENCES repository (id),
    name           TEXT COLLATE "C" NOT NULL,
    manifest_id    BIGINT REFERENCES manifest (id),
    version        BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
);
CREATE INDEX tag_manifest ON tag (manifest_id);
-- A list of tags must not walk through those that were deleted.
CREATE INDEX tag_living ON tag (repository_id, name) WHERE manifest_id IS NOT NULL;

CREATE TABLE tag_history (
    repository_id  BIGINT NOT NULL REFERENCES repository (id),
    name           TEXT COLLATE "C" NOT NULL,
    version        BIGINT NOT NULL,
    digest         TEXT COLLATE "C",
    at             BIGINT NOT NULL,
    actor          TEXT    NOT NULL,
    PRIMARY KEY (repository_id, name, version)
);

-- id is random: it stands in URLs and must not come back as somebody else's. writer: who may save (the last to raise it).
-- boot: under which boot of the machine hash_state was saved; unsynced bytes do not survive the next one.
-- tail_key and tail_length: bytes behind the last full part on an object store. finishing: the digest being completed there.
CREATE TABLE upload (
    id             BIGINT PRIMARY KEY,
    repository_id  BIGINT NOT NULL REFERENCES repository (id),
    store          TEXT    NOT NULL,
    storage_key    TEXT COLLATE "C" NOT NULL UNIQUE,
    tail_key       TEXT,
    tail_length    BIGINT NOT NULL DEFAULT 0,
    received       BIGINT NOT NULL DEFAULT 0,
    algorithm      TEXT    NOT NULL,
    hash_state     BYTEA,
    boot           TEXT    NOT NULL,
    writer         BIGINT NOT NULL DEFAULT 0,
    reserved       BIGINT NOT NULL DEFAULT 0,
    finishing      TEXT,
    expires_at     BIGINT NOT NULL
);
CREATE INDEX upload_expiry ON upload (expires_at);

CREATE TABLE upload_part (
    upload_id  BIGINT NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    etag       TEXT    NOT NULL,
    size       BIGINT NOT NULL,
    PRIMARY KEY (upload_id, number)
);

-- Bytes that no row refers to any more. multipart: the object store's name of an upload to abort.
CREATE TABLE trash (
    storage_key  TEXT COLLATE "C" PRIMARY KEY,
    store        TEXT    NOT NULL,
    multipart    TEXT,
    since        BIGINT NOT NULL
);
CREATE INDEX trash_age ON trash (since);

-- What happened, for senders: they mark rows done and never remember an id, because ids do not commit in order.
CREATE TABLE event (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       BIGINT NOT NULL,
    kind     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    done_at  BIGINT
);
CREATE INDEX event_waiting ON event (id) WHERE done_at IS NULL;

-- Pulls are counted in memory and written each minute.
CREATE TABLE tag_pull (
    repository_id  BIGINT NOT NULL REFERENCES repository (id),
    name           TEXT COLLATE "C" NOT NULL,
    pulls          BIGINT NOT NULL,
    pulled_at      BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
);

CREATE TABLE manifest_pull (
    manifest_id  BIGINT PRIMARY KEY REFERENCES manifest (id) ON DELETE CASCADE,
    pulls        BIGINT NOT NULL,
    pulled_at    BIGINT NOT NULL
);
