-- What happened. Every table has an id that grows with time and an age, by which old rows are removed.

CREATE TABLE alarms (
    id           BIGINT NOT NULL PRIMARY KEY,
    time         BIGINT NOT NULL,
    device       TEXT NOT NULL,
    name         TEXT NOT NULL,
    place        BIGINT NOT NULL,
    alarm_type   BIGINT NOT NULL,
    priority     BIGINT NOT NULL,
    -- 1 raised, 2 handled
    status       BIGINT NOT NULL,
    description  TEXT NOT NULL,
    longitude    TEXT NOT NULL,
    latitude     TEXT NOT NULL,
    payload      TEXT NOT NULL,
    processor_id TEXT NOT NULL,
    note         TEXT NOT NULL,
    processed    BIGINT NOT NULL
);
CREATE INDEX alarms_by_age ON alarms (time);
CREATE INDEX alarms_by_device ON alarms (device, time);

CREATE TABLE positions (
    id        BIGINT NOT NULL PRIMARY KEY,
    time      BIGINT NOT NULL,
    device    TEXT NOT NULL,
    channel   TEXT NOT NULL,
    lng       TEXT NOT NULL,
    lat       TEXT NOT NULL,
    height    TEXT NOT NULL,
    speed     TEXT NOT NULL,
    angle     TEXT NOT NULL
);
CREATE INDEX positions_by_age ON positions (time);
CREATE INDEX positions_by_device ON positions (device, time);

CREATE TABLE presences (
    id           BIGINT NOT NULL PRIMARY KEY,
    -- when it came
    time         BIGINT NOT NULL,
    -- 'PU' device, 'CU' user
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    address      TEXT NOT NULL,
    -- of a user: the login
    token_id     TEXT NOT NULL,
    -- when it went; -1 = it is there
    offline_time BIGINT NOT NULL,
    duration     BIGINT NOT NULL
);
CREATE INDEX presences_by_age ON presences (time);
CREATE INDEX presences_by_name ON presences (kind, name, time);

CREATE TABLE dialogs (
    id         BIGINT NOT NULL PRIMARY KEY,
    -- when it was opened
    time       BIGINT NOT NULL,
    device     TEXT NOT NULL,
    place      BIGINT NOT NULL,
    user_id    TEXT NOT NULL,
    address    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    close_time BIGINT NOT NULL,
    duration   BIGINT NOT NULL,
    sent_bytes BIGINT NOT NULL,
    failure    TEXT NOT NULL
);
CREATE INDEX dialogs_by_age ON dialogs (time);

CREATE TABLE operations (
    id          BIGINT NOT NULL PRIMARY KEY,
    time        BIGINT NOT NULL,
    user_id     TEXT NOT NULL,
    address     TEXT NOT NULL,
    method      TEXT NOT NULL,
    path        TEXT NOT NULL,
    target      TEXT NOT NULL,
    result      BIGINT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX operations_by_age ON operations (time);
