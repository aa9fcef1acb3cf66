-- The audit's chain is written from here on, and signing keys move from files into signing_key. Nothing of the release before is touched:
-- it neither reads nor writes these tables' new columns, and the two tables were empty.

-- `seq` is the number of a batch's last row and `first_seq` that of its first; `kept` tells how long its rows stay.
-- `removed_*` is the signed word that they were removed, from `removed_first` on: earlier checkpoints of removed rows give way to it.
ALTER TABLE audit_checkpoint ADD COLUMN first_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit_checkpoint ADD COLUMN kept TEXT NOT NULL DEFAULT 'long';
ALTER TABLE audit_checkpoint ADD COLUMN removed_first INTEGER;
ALTER TABLE audit_checkpoint ADD COLUMN removed_at INTEGER;
ALTER TABLE audit_checkpoint ADD COLUMN removed_signature BLOB;
CREATE INDEX audit_checkpoint_due ON audit_checkpoint (kept, at) WHERE removed_at IS NULL;

-- The log of one namespace, which its administrators read.
CREATE INDEX audit_namespace ON audit (namespace_id, id) WHERE namespace_id IS NOT NULL;

-- When a key was made, began to sign and stopped.
ALTER TABLE signing_key ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE signing_key ADD COLUMN active_at INTEGER;
ALTER TABLE signing_key ADD COLUMN retired_at INTEGER;
