-- What pictures take on the disk, and what the device calls them.

ALTER TABLE snapshots ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN files TEXT NOT NULL DEFAULT '';
