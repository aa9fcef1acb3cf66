-- How far the doctor has come, by what it was asked for: a run that was ended goes on there. finished_at is NULL until it has come to its end.
CREATE TABLE examination (
    kind         TEXT PRIMARY KEY,
    begun_at     INTEGER NOT NULL,
    step         TEXT NOT NULL,
    first        INTEGER NOT NULL,
    second       INTEGER NOT NULL,
    name         TEXT NOT NULL,
    looked       INTEGER NOT NULL,
    findings     INTEGER NOT NULL,
    repaired     INTEGER NOT NULL,
    saved_at     INTEGER NOT NULL,
    finished_at  INTEGER
) STRICT, WITHOUT ROWID;

-- The bytes that nobody has hashed for longest come first.
CREATE INDEX blob_verified ON blob (coalesce(verified_at, 0), id);

-- What a namespace uses is counted by its repositories, deleted ones too.
CREATE INDEX repository_namespace ON repository (namespace_id);
