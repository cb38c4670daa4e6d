-- Records of devices that are kept as files of this node. state: waiting, running, done, failed, cancelled.
CREATE TABLE downloads (
    id          BIGINT NOT NULL PRIMARY KEY,
    owner       TEXT NOT NULL,
    device      TEXT NOT NULL,
    channel     BIGINT NOT NULL,
    begin_s     BIGINT NOT NULL,
    end_s       BIGINT NOT NULL,
    speed       BIGINT NOT NULL,
    state       TEXT NOT NULL,
    -- how much of the record is here
    position_ms BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    created_s   BIGINT NOT NULL
);
