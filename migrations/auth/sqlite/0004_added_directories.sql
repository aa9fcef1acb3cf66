-- A directory is described in the settings of the processes ('settings') or here ('added'). One that was removed is 'removing' until its
-- accounts are disabled, and then 'removed': they keep it, and come back with it. The release before reads none of this.
ALTER TABLE provider ADD COLUMN state TEXT NOT NULL DEFAULT 'settings';
-- The master key that sealed_secret was sealed under.
ALTER TABLE provider ADD COLUMN master_id TEXT;
