-- What calls came to, by the hour they were received in (microseconds), seller, buyer and vertical: the fold of the outbox up to the cursor
-- 'group analytics'. The buyer is 16 zero bytes where nobody is one yet.
CREATE TABLE roll_ups (
    hour                    INTEGER NOT NULL,
    seller                  BLOB NOT NULL CHECK (length(seller) = 16),
    buyer                   BLOB NOT NULL CHECK (length(buyer) = 16),
    vertical                TEXT NOT NULL,
    received                INTEGER NOT NULL,
    refused                 INTEGER NOT NULL,
    unsold                  INTEGER NOT NULL,
    unanswered              INTEGER NOT NULL,
    abandoned               INTEGER NOT NULL,
    routed                  INTEGER NOT NULL,
    bridged                 INTEGER NOT NULL,
    converted               INTEGER NOT NULL,
    connected_ms            INTEGER NOT NULL,
    charged_micros          INTEGER NOT NULL,
    paid_micros             INTEGER NOT NULL,
    margin_micros           INTEGER NOT NULL,
    refunded_micros         INTEGER NOT NULL,
    refunded_payout_micros  INTEGER NOT NULL,
    PRIMARY KEY (hour, seller, buyer, vertical)
) STRICT, WITHOUT ROWID;
CREATE INDEX roll_ups_by_seller ON roll_ups (seller, hour);
CREATE INDEX roll_ups_by_buyer ON roll_ups (buyer, hour);

-- Events that a group of consumers refused for good. state: waiting, taken. times: how often it was put aside.
CREATE TABLE dead_letters (
    consumer   TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'taken')),
    put_at     INTEGER NOT NULL,
    finding    TEXT NOT NULL,
    type       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    at         INTEGER NOT NULL,
    data       TEXT NOT NULL,
    PRIMARY KEY (consumer, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_waiting ON dead_letters (consumer, seq) WHERE state = 'waiting';

-- Which of them somebody asked to be given again, and for the how manieth time they had been put aside then.
CREATE TABLE replays (
    consumer  TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    times     INTEGER NOT NULL,
    PRIMARY KEY (consumer, seq)
) STRICT, WITHOUT ROWID;
