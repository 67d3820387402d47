-- Calls whose charge was disputed. stage: open, rejected, upheld. There are few: they are kept whole, also when their calls are
-- detached.
CREATE TABLE disputes (
    call         uuid PRIMARY KEY,
    buyer        uuid NOT NULL,
    seller       uuid NOT NULL,
    stage        text NOT NULL,
    disputed_at  bigint NOT NULL,
    document     json NOT NULL
);
CREATE INDEX disputes_open ON disputes (call) WHERE stage = 'open';
CREATE INDEX disputes_by_time ON disputes (disputed_at);
