-- Whose a position is: the index of the channel, or -1 for the device itself.
ALTER TABLE positions ADD COLUMN place BIGINT NOT NULL DEFAULT -1;
