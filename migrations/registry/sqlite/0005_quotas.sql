-- A namespace's quota in bytes is there; these bound how many tags and how many repositories it has. NULL is unlimited.
ALTER TABLE namespace ADD COLUMN tag_quota INTEGER;
ALTER TABLE namespace ADD COLUMN repository_quota INTEGER;
