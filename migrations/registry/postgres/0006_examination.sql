-- How far the doctor has come, by what it was asked for: a run that was ended goes on there. finished_at is NULL until it has come to its end.
CREATE TABLE examination (
    kind         TEXT COLLATE "C" PRIMARY KEY,
    begun_at     BIGINT NOT NULL,
    step         TEXT NOT NULL,
    first        BIGINT NOT NULL,
    second       BIGINT NOT NULL,
    name         TEXT NOT NULL,
    looked       BIGINT NOT NULL,
    findings     BIGINT NOT NULL,
    repaired     BIGINT NOT NULL,
    saved_at     BIGINT NOT NULL,
    finished_at  BIGINT
);

-- The bytes that nobody has hashed for longest come first.
CREATE INDEX blob_verified ON blob (coalesce(verified_at, 0), id);

-- What a namespace uses is counted by its repositories, deleted ones too.
CREATE INDEX repository_namespace ON repository (namespace_id);
