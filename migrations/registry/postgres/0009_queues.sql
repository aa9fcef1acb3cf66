-- Queues are read page by page behind (expires_at, id). An index that ends before the id leaves a page to a sort of the whole queue: with 100,000 entries
-- 47 ms instead of 0.1. SQLite's indexes end in the id by themselves.
DROP INDEX upload_expiry;
CREATE INDEX upload_expiry ON upload (expires_at, id);
DROP INDEX repository_deleted;
CREATE INDEX repository_deleted ON repository (expires_at, id) WHERE deleted_at IS NOT NULL;
DROP INDEX manifest_purge;
CREATE INDEX manifest_purge ON manifest (expires_at, id) WHERE deleted_at IS NOT NULL;
