-- Rules about tags that stay where they are, as JSON; NULL where there are none.
ALTER TABLE namespace ADD COLUMN immutable TEXT;

-- Until when a deleted repository can come back, and who deleted it.
ALTER TABLE repository ADD COLUMN expires_at BIGINT;
ALTER TABLE repository ADD COLUMN deleted_by TEXT;
CREATE INDEX repository_deleted ON repository (expires_at) WHERE deleted_at IS NOT NULL;

-- Who deleted a manifest, and which tags it carried then, as a JSON array.
ALTER TABLE manifest ADD COLUMN deleted_by TEXT;
ALTER TABLE manifest ADD COLUMN deleted_tags TEXT;
