-- How far each reader of the outbox came: the relay to Kafka, and the groups of the local bus.
CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
