-- Calls whose charge was disputed. stage: open, rejected, upheld.
CREATE TABLE disputes (
    call         BLOB NOT NULL PRIMARY KEY CHECK (length(call) = 16),
    buyer        BLOB NOT NULL,
    seller       BLOB NOT NULL,
    stage        TEXT NOT NULL,
    disputed_at  INTEGER NOT NULL,
    document     TEXT NOT NULL
) STRICT;
CREATE INDEX disputes_open ON disputes (call) WHERE stage = 'open';
CREATE INDEX disputes_by_time ON disputes (disputed_at);
