-- What users forced for single devices: words as the API writes them, such as 'transport=udp loss=show'.
CREATE TABLE device_policies (
    device TEXT NOT NULL PRIMARY KEY,
    policy TEXT NOT NULL
);
