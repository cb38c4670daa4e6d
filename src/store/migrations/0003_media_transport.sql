-- By what a picture came after another way had brought none: 0 not known, 1 UDP, 2 TCP passive, 3 TCP active.
ALTER TABLE devices ADD COLUMN media_transport BIGINT NOT NULL DEFAULT 0;
