-- Until when a repository holds blobs that `reindex` found: a promise may be as long there. NULL where it never did.
ALTER TABLE repository ADD COLUMN found_until BIGINT;
