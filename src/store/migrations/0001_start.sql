-- Every column is TEXT or BIGINT and none is NULL: the two databases agree on these, '' and -1 stand for "none".

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    name       TEXT NOT NULL PRIMARY KEY,
    -- sealed: hex(sha256(name "_" password))
    proof      TEXT NOT NULL,
    role       TEXT NOT NULL,
    enabled    BIGINT NOT NULL,
    created_s  BIGINT NOT NULL,
    password_s BIGINT NOT NULL
);

CREATE TABLE logins (
    -- 16 hex digits
    token_id  TEXT NOT NULL PRIMARY KEY,
    user_name TEXT NOT NULL,
    expires_s BIGINT NOT NULL
);

CREATE TABLE devices (
    id              TEXT NOT NULL PRIMARY KEY,
    -- 0 default password, 1 own password, 2 none needed
    auth            BIGINT NOT NULL DEFAULT 0,
    -- sealed
    password        TEXT NOT NULL DEFAULT '',
    peer            TEXT NOT NULL DEFAULT '',
    over_tcp        BIGINT NOT NULL DEFAULT 0,
    online          BIGINT NOT NULL DEFAULT 0,
    expires_s       BIGINT NOT NULL DEFAULT 0,
    last_seen_s     BIGINT NOT NULL DEFAULT 0,
    gb_version      TEXT NOT NULL DEFAULT '',
    name            TEXT NOT NULL DEFAULT '',
    manufacturer    TEXT NOT NULL DEFAULT '',
    model           TEXT NOT NULL DEFAULT '',
    firmware        TEXT NOT NULL DEFAULT '',
    channel_count   BIGINT NOT NULL DEFAULT -1,
    catalog_partial BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE channels (
    device       TEXT NOT NULL,
    -- the index of the API; a channel keeps it for ever
    place        BIGINT NOT NULL,
    id           TEXT NOT NULL,
    name         TEXT NOT NULL,
    manufacturer TEXT NOT NULL,
    model        TEXT NOT NULL,
    owner        TEXT NOT NULL,
    civil_code   TEXT NOT NULL,
    address      TEXT NOT NULL,
    parent_id    TEXT NOT NULL,
    -- bits: 1 parental, 2 secrecy, 4 online
    flags        BIGINT NOT NULL,
    -- decimal degrees, or ''
    longitude    TEXT NOT NULL,
    latitude     TEXT NOT NULL,
    ptz_type     BIGINT NOT NULL,
    PRIMARY KEY (device, place)
);
