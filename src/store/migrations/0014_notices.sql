-- What devices told beside alarms and positions: where a camera looks, that a video was uploaded.
CREATE TABLE notices (
    id      BIGINT NOT NULL PRIMARY KEY,
    time    BIGINT NOT NULL,
    device  TEXT NOT NULL,
    -- index of the channel; -1 = the device
    place   BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    payload TEXT NOT NULL
);
CREATE INDEX notices_by_age ON notices (time);
CREATE INDEX notices_by_device ON notices (device, kind, time);

-- A subscription may be for one channel of a device; '' = the device itself.
CREATE TABLE channel_subscriptions (
    device     TEXT NOT NULL,
    topic      TEXT NOT NULL,
    channel    TEXT NOT NULL,
    expires_s  BIGINT NOT NULL,
    interval_s BIGINT NOT NULL,
    PRIMARY KEY (device, topic, channel)
);
INSERT INTO channel_subscriptions (device, topic, channel, expires_s, interval_s)
    SELECT device, topic, '', expires_s, interval_s FROM subscriptions;
DROP TABLE subscriptions;

-- Keys that were agreed with devices of GB 35114, sealed with the key of the data folder.
CREATE TABLE shared_keys (
    device TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL
);
