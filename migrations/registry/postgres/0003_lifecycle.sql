-- Lifecycle rules: where sets of rules, their runs and their previews are kept. A namespace's own set stands in namespace.policy.

-- The rules of one repository, beside those of its namespace.
ALTER TABLE repository ADD COLUMN policy TEXT;

-- What a manifest says of how long it is to live (the annotation portreeve.expires-after), as it was written, or its beginning.
ALTER TABLE manifest ADD COLUMN expires_after TEXT;

-- Living manifests that nothing holds, of one repository: few, and those that are pushed with a tag are never among them.
CREATE INDEX manifest_loose ON manifest (repository_id, id) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;

-- One row for each namespace that has had rules, its own or a repository's. version: how often any of them were set; set_at: when last.
-- run counts runs; state: running | done | failed, NULL before the first. holder: who runs it until leased_until; whoever finds that passed may go on.
-- preview: what the run is confined to. progress: where it stands and what it has done, JSON.
CREATE TABLE lifecycle (
    namespace_id  BIGINT PRIMARY KEY REFERENCES namespace (id),
    version       BIGINT NOT NULL DEFAULT 0,
    set_at        BIGINT NOT NULL DEFAULT 0,
    run           BIGINT NOT NULL DEFAULT 0,
    state         TEXT,
    actor         TEXT,
    preview_id    BIGINT,
    holder        TEXT,
    leased_until  BIGINT NOT NULL DEFAULT 0,
    started_at    BIGINT NOT NULL DEFAULT 0,
    ended_at      BIGINT,
    progress      TEXT    NOT NULL DEFAULT '{}'
);

-- What a person was shown: a run may be confined to it. version: that of the rules. Until it is whole, expires_at is 0.
CREATE TABLE lifecycle_preview (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token         TEXT COLLATE "C" NOT NULL UNIQUE,
    namespace_id  BIGINT NOT NULL REFERENCES namespace (id),
    version       BIGINT NOT NULL,
    made_at       BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX lifecycle_preview_age ON lifecycle_preview (made_at);

-- What would go by it: a tag by its name and version, or an untagged manifest by its digest (no tag has a colon) with version 0.
CREATE TABLE lifecycle_preview_item (
    preview_id     BIGINT NOT NULL,
    repository_id  BIGINT NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    version        BIGINT NOT NULL,
    PRIMARY KEY (preview_id, repository_id, name)
);
