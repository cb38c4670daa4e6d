-- What people say of devices, and what they may do: the platform's own data.

CREATE TABLE device_groups (
    id           TEXT NOT NULL PRIMARY KEY,
    parent       TEXT NOT NULL,
    name         TEXT NOT NULL,
    abbreviation TEXT NOT NULL,
    description  TEXT NOT NULL
);

CREATE TABLE device_classes (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL
);

CREATE TABLE device_facts (
    device      TEXT NOT NULL PRIMARY KEY,
    -- 'device', or 'platform' for one with a directory of its own
    kind        TEXT NOT NULL,
    -- '' = as the device calls itself
    name        TEXT NOT NULL,
    group_id    TEXT NOT NULL,
    class_id    TEXT NOT NULL,
    description TEXT NOT NULL,
    tags        TEXT NOT NULL,
    made_s      BIGINT NOT NULL
);

CREATE TABLE channel_facts (
    device    TEXT NOT NULL,
    channel   TEXT NOT NULL,
    name      TEXT NOT NULL,
    -- -1 = as the device says
    ptz       BIGINT NOT NULL,
    longitude TEXT NOT NULL,
    latitude  TEXT NOT NULL,
    PRIMARY KEY (device, channel)
);

-- Settings of a channel that the platform itself follows, as JSON.
CREATE TABLE own_settings (
    device TEXT NOT NULL,
    place  BIGINT NOT NULL,
    kind   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (device, place, kind)
);

CREATE TABLE config_plans (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    settings    TEXT NOT NULL,
    made_s      BIGINT NOT NULL
);

CREATE TABLE config_plan_devices (
    device    TEXT NOT NULL PRIMARY KEY,
    plan      TEXT NOT NULL,
    -- waiting, done, failed
    state     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    changed_s BIGINT NOT NULL
);

CREATE TABLE access_list (
    black    BIGINT NOT NULL,
    -- 1 device, 2 user
    obj_type BIGINT NOT NULL,
    obj_id   TEXT NOT NULL,
    made_s   BIGINT NOT NULL,
    PRIMARY KEY (black, obj_type, obj_id)
);

CREATE TABLE subscriptions (
    device     TEXT NOT NULL,
    topic      TEXT NOT NULL,
    expires_s  BIGINT NOT NULL,
    interval_s BIGINT NOT NULL,
    PRIMARY KEY (device, topic)
);

-- Nodes of directories: what channels hang on.
CREATE TABLE directory (
    device     TEXT NOT NULL,
    id         TEXT NOT NULL,
    parent     TEXT NOT NULL,
    name       TEXT NOT NULL,
    civil_code TEXT NOT NULL,
    place      BIGINT NOT NULL,
    PRIMARY KEY (device, id)
);
CREATE INDEX directory_by_parent ON directory (device, parent, place);
CREATE INDEX channels_by_parent ON channels (device, parent_id, place);

-- Dialogs of media that have begun and are not over.
CREATE TABLE open_dialogs (
    call_id TEXT NOT NULL PRIMARY KEY,
    device  TEXT NOT NULL,
    dialog  TEXT NOT NULL
);

CREATE TABLE upgrades (
    device     TEXT NOT NULL PRIMARY KEY,
    session    TEXT NOT NULL,
    firmware   TEXT NOT NULL,
    -- running, done, failed
    state      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    begun_s    BIGINT NOT NULL,
    finished_s BIGINT NOT NULL
);

CREATE TABLE snapshots (
    id         TEXT NOT NULL PRIMARY KEY,
    device     TEXT NOT NULL,
    place      BIGINT NOT NULL,
    wanted     BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    -- running, done, failed
    state      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    made_s     BIGINT NOT NULL,
    finished_s BIGINT NOT NULL
);
CREATE INDEX snapshots_by_age ON snapshots (made_s);
