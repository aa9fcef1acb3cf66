-- What a provider calls an account, folded: a name that somebody signs in with is looked up before the directory is asked.
ALTER TABLE identity ADD COLUMN folded_name TEXT;
CREATE INDEX identity_name ON identity (provider_id, folded_name);
