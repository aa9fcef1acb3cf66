-- Who has an upload open: how many one holder has is bounded.
ALTER TABLE upload ADD COLUMN holder TEXT NOT NULL DEFAULT '';
CREATE INDEX upload_holder ON upload (holder);
