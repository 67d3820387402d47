-- What calls came to, by the hour they were received in (microseconds), seller, buyer and vertical: the fold of the outbox up to the cursor
-- 'group analytics'. The buyer is the UUID of all zeros where nobody is one yet.
CREATE TABLE roll_ups (
    hour                    bigint NOT NULL,
    seller                  uuid NOT NULL,
    buyer                   uuid NOT NULL,
    vertical                text COLLATE "C" NOT NULL,
    received                bigint NOT NULL,
    refused                 bigint NOT NULL,
    unsold                  bigint NOT NULL,
    unanswered              bigint NOT NULL,
    abandoned               bigint NOT NULL,
    routed                  bigint NOT NULL,
    bridged                 bigint NOT NULL,
    converted               bigint NOT NULL,
    connected_ms            bigint NOT NULL,
    charged_micros          bigint NOT NULL,
    paid_micros             bigint NOT NULL,
    margin_micros           bigint NOT NULL,
    refunded_micros         bigint NOT NULL,
    refunded_payout_micros  bigint NOT NULL,
    PRIMARY KEY (hour, seller, buyer, vertical)
);
CREATE INDEX roll_ups_by_seller ON roll_ups (seller, hour);
CREATE INDEX roll_ups_by_buyer ON roll_ups (buyer, hour);

-- Events that a group of consumers refused for good. state: waiting, taken. times: how often it was put aside.
CREATE TABLE dead_letters (
    consumer   text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    times      bigint NOT NULL,
    state      text NOT NULL CHECK (state IN ('waiting', 'taken')),
    put_at     bigint NOT NULL,
    finding    text NOT NULL,
    type       text NOT NULL,
    subject    text NOT NULL,
    at         bigint NOT NULL,
    data       json NOT NULL,
    PRIMARY KEY (consumer, seq)
);
CREATE INDEX dead_letters_waiting ON dead_letters (consumer, seq) WHERE state = 'waiting';

-- Which of them somebody asked to be given again, and for the how manieth time they had been put aside then.
CREATE TABLE replays (
    consumer  text COLLATE "C" NOT NULL,
    seq       bigint NOT NULL,
    times     bigint NOT NULL,
    PRIMARY KEY (consumer, seq)
);
