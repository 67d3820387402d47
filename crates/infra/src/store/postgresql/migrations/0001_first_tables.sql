-- Times are microseconds since 1970-01-01T00:00:00Z, money is micro-units. A `document` is the domain value as JSON, kept as it
-- was written; the columns beside it exist to be searched and summed. Sequence numbers are given by the one writer, which is
-- why none of them is a sequence: they have no gaps. There are no foreign keys for the same reason: one program writes here, and
-- its audit (`dce verify`) looks for what a key would refuse.
--
-- What grows with the calls is partitioned by month. A call's id is a UUID of version 7 and begins with its time, so calls and all
-- that hangs on them (receipts, transfers) are partitioned by the id: an id is looked for in one partition, it is unique over all
-- of them, and a month is detached with everything that belongs to its calls.

-- Who this store is: the first half of every event id.
CREATE TABLE identity (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id  bytea NOT NULL CHECK (length(store_id) = 8)
);
INSERT INTO identity (store_id) VALUES (decode(left(md5(gen_random_uuid()::text), 16), 'hex'));

-- Who may write (epoch), what was written last (batch), the numbers given so far, and the last moment the exchange is known to
-- have run.
CREATE TABLE writer (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch             bigint NOT NULL DEFAULT 0,
    batch             bigint NOT NULL DEFAULT 0,
    holder            text NOT NULL DEFAULT '',
    taken_at          timestamptz,
    journal_seq       bigint NOT NULL DEFAULT 0,
    transfer_seq      bigint NOT NULL DEFAULT 0,
    outbox_seq        bigint NOT NULL DEFAULT 0,
    credit_limit_seq  bigint NOT NULL DEFAULT 0,
    ledger_seq        bigint NOT NULL DEFAULT 0,
    last_alive_at     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO writer DEFAULT VALUES;
CREATE VIEW liveness AS SELECT last_alive_at FROM writer;

-- The last statement of every batch. A writer that was replaced, or a batch that is there already, gets no further.
CREATE FUNCTION end_batch(
    this_epoch bigint, this_batch bigint, journal bigint, transfer bigint, event bigint, credit_limit bigint, ledger bigint, alive bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE writer SET batch = this_batch, journal_seq = journal, transfer_seq = transfer, outbox_seq = event,
        credit_limit_seq = credit_limit, ledger_seq = ledger, last_alive_at = greatest(last_alive_at, alive)
    WHERE epoch = this_epoch AND batch = this_batch - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'writer of epoch % may not write batch %', this_epoch, this_batch USING ERRCODE = 'DC001';
    END IF;
END $$;

-- Refuses changes of history. Moving rows into a partition of their own is none.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('dce.moving_rows', true) = 'yes' THEN RETURN old; END IF;
    RAISE EXCEPTION '% is append-only', TG_ARGV[0];
END $$;

-- What was put in, in the order it was decided.
CREATE TABLE journal (
    seq       bigint NOT NULL,
    at        bigint NOT NULL,
    document  json NOT NULL,
    PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE journal_default PARTITION OF journal DEFAULT;
CREATE INDEX journal_by_time ON journal USING brin (at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON journal
FOR EACH ROW EXECUTE FUNCTION refuse_change('the journal');

CREATE TABLE accounts (
    id        uuid PRIMARY KEY,
    kind      text NOT NULL,
    status    text NOT NULL,
    document  json NOT NULL
);

-- Each credit limit ever in force, and after which transfer it came into force: an audit needs the limit of the time.
CREATE TABLE credit_limits (
    seq                  bigint PRIMARY KEY,
    account              uuid NOT NULL,
    after_transfer       bigint NOT NULL,
    credit_limit_micros  bigint NOT NULL
);

CREATE TABLE tracking_numbers (
    number    bigint PRIMARY KEY,
    seller    uuid NOT NULL,
    document  json NOT NULL
);
CREATE INDEX tracking_numbers_by_seller ON tracking_numbers (seller, number);

CREATE TABLE bid_profiles (
    id        uuid PRIMARY KEY,
    buyer     uuid NOT NULL,
    vertical  text COLLATE "C" NOT NULL,
    document  json NOT NULL
);
CREATE INDEX bid_profiles_by_buyer ON bid_profiles (buyer, id);
CREATE INDEX bid_profiles_by_vertical ON bid_profiles (vertical, id);

CREATE TABLE cap_groups (
    id        uuid PRIMARY KEY,
    buyer     uuid NOT NULL,
    document  json NOT NULL
);

-- scope: `vertical:roofing`, `seller:<account id>`, `number:<number>`.
CREATE TABLE trading_rules (
    scope     text COLLATE "C" PRIMARY KEY,
    document  json NOT NULL
);

CREATE TABLE deals (
    id        uuid PRIMARY KEY,
    seller    uuid NOT NULL,
    document  json NOT NULL
);

-- What a bid (`bid`) or a cap group (`group`) has taken, and what came of its calls.
CREATE TABLE usage (
    kind      text COLLATE "C" NOT NULL CHECK (kind IN ('bid', 'group')),
    id        uuid NOT NULL,
    document  json NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);

CREATE TABLE seller_records (
    seller    uuid PRIMARY KEY,
    document  json NOT NULL
) WITH (fillfactor = 70);

-- state: bidding, reserved, ringing, connected, ended. The buyer is that of the attempt in the state, if there is one.
CREATE TABLE calls (
    id             uuid PRIMARY KEY,
    received_at    bigint NOT NULL,
    seller         uuid NOT NULL,
    buyer          uuid,
    vertical       text COLLATE "C" NOT NULL,
    state          text NOT NULL,
    outcome        text COLLATE "C" CHECK ((outcome IS NOT NULL) = (state = 'ended')),
    charge_micros  bigint NOT NULL,
    payout_micros  bigint NOT NULL,
    margin_micros  bigint NOT NULL,
    ended_at       bigint,
    -- Calls that have ended, and whose buyers may still report their revenue: until when. NULL for all others.
    awaits_revenue_until  bigint,
    document       json NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE calls_default PARTITION OF calls DEFAULT;
CREATE INDEX calls_by_time ON calls (received_at, id);
CREATE INDEX calls_by_seller ON calls (seller, received_at, id);
CREATE INDEX calls_by_buyer ON calls (buyer, received_at, id) WHERE buyer IS NOT NULL;
CREATE INDEX calls_by_outcome ON calls (outcome, received_at, id) WHERE outcome IS NOT NULL;
CREATE INDEX calls_open ON calls (received_at, id) WHERE outcome IS NULL;
CREATE INDEX calls_awaiting_revenue ON calls (awaits_revenue_until) WHERE awaits_revenue_until IS NOT NULL;
CREATE INDEX calls_by_end ON calls (ended_at) WHERE outcome IN ('converted', 'not_converted');

-- How each call was decided; written once.
CREATE TABLE receipts (
    call        uuid PRIMARY KEY,
    decided_at  bigint NOT NULL,
    document    json NOT NULL
) PARTITION BY RANGE (call);
CREATE TABLE receipts_default PARTITION OF receipts DEFAULT;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON receipts
FOR EACH ROW EXECUTE FUNCTION refuse_change('a receipt');

-- Places where money can be, and how much is there: always the opening balance and the sum of the transfers. The opening
-- balance is what detached transfers came to.
CREATE TABLE ledger_accounts (
    id              bigint PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    balance_micros  bigint NOT NULL,
    opening_micros  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Money that moved, once for every reason. A reason names its call, so that it is unique over all partitions. Deposits belong to
-- no call: theirs is the UUID of all zeros, their partition is never detached, and a reference stays used for ever.
CREATE TABLE transfers (
    call           uuid NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    seq            bigint NOT NULL,
    from_ledger    bigint NOT NULL,
    to_ledger      bigint NOT NULL,
    amount_micros  bigint NOT NULL CHECK (amount_micros > 0),
    at             bigint NOT NULL,
    journal_seq    bigint,
    PRIMARY KEY (call, reason),
    CHECK (to_ledger <> from_ledger)
) PARTITION BY RANGE (call);
CREATE TABLE transfers_default PARTITION OF transfers DEFAULT;
CREATE TABLE transfers_deposits PARTITION OF transfers
FOR VALUES FROM (MINVALUE) TO ('00000000-0000-0000-0000-000000000001');
CREATE INDEX transfers_by_from ON transfers (from_ledger, seq);
CREATE INDEX transfers_by_to ON transfers (to_ledger, seq);
CREATE INDEX transfers_by_time ON transfers USING brin (at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON transfers
FOR EACH ROW EXECUTE FUNCTION refuse_change('a transfer');

-- Events to be published. Published rows may be cleared away: the next seq follows from the writer's row.
CREATE TABLE outbox (
    seq      bigint NOT NULL,
    type     text NOT NULL,
    subject  text NOT NULL,
    at       bigint NOT NULL,
    data     json NOT NULL,
    PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;
CREATE INDEX outbox_by_time ON outbox USING brin (at);

-- How far each reader of the outbox came: the relay to Kafka, and the groups of the local bus.
CREATE TABLE cursors (
    name  text COLLATE "C" PRIMARY KEY,
    seq   bigint NOT NULL
) WITH (fillfactor = 50);

-- The secret is never stored, only its SHA-256.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    role         text NOT NULL,
    account      uuid,
    secret_hash  bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    created_at   bigint NOT NULL,
    revoked_at   bigint
);
