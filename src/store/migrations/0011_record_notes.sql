-- What users write beside a file of this node: its name and descriptions, and marks on its time line.
CREATE TABLE record_notes (
    file  TEXT NOT NULL PRIMARY KEY,
    name  TEXT NOT NULL,
    desc1 TEXT NOT NULL,
    desc2 TEXT NOT NULL
);

CREATE TABLE record_marks (
    id      BIGINT NOT NULL PRIMARY KEY,
    file    TEXT NOT NULL,
    owner   TEXT NOT NULL,
    -- as the client wrote it: a place in the file
    place   TEXT NOT NULL,
    data    TEXT NOT NULL,
    added_s BIGINT NOT NULL
);

CREATE INDEX record_marks_by_file ON record_marks (file, id);
