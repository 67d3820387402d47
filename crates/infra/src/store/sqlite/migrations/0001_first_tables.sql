-- Times are microseconds since 1970-01-01T00:00:00Z, money is micro-units, ids are the 16 bytes of a UUID.
-- A `document` is the domain value as JSON; the columns beside it exist to be searched and summed.

-- Who this store is: the first half of every event id.
CREATE TABLE identity (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    store_id   BLOB NOT NULL CHECK (length(store_id) = 8)
) STRICT;
INSERT INTO identity VALUES (1, randomblob(8));

-- The last moment the exchange is known to have run.
CREATE TABLE liveness (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    last_alive_at  INTEGER NOT NULL
) STRICT;
INSERT INTO liveness VALUES (1, 0);

-- What was put in, in the order it was decided. Rows are never deleted, so seq has no gaps.
CREATE TABLE journal (
    seq       INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    document  TEXT NOT NULL
) STRICT;
CREATE TRIGGER journal_is_append_only_update BEFORE UPDATE ON journal
BEGIN SELECT raise(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_append_only_delete BEFORE DELETE ON journal
BEGIN SELECT raise(ABORT, 'the journal is append-only'); END;

CREATE TABLE accounts (
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    kind      TEXT NOT NULL,
    status    TEXT NOT NULL,
    document  TEXT NOT NULL
) STRICT;

-- Each credit limit ever in force, and after which transfer it came into force: an audit needs the limit of the time.
CREATE TABLE credit_limits (
    seq                  INTEGER PRIMARY KEY,
    account              BLOB NOT NULL,
    after_transfer       INTEGER NOT NULL,
    credit_limit_micros  INTEGER NOT NULL
) STRICT;

CREATE TABLE tracking_numbers (
    number    INTEGER PRIMARY KEY,
    seller    BLOB NOT NULL,
    document  TEXT NOT NULL
) STRICT;
CREATE INDEX tracking_numbers_by_seller ON tracking_numbers (seller, number);

CREATE TABLE bid_profiles (
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    buyer     BLOB NOT NULL,
    vertical  TEXT NOT NULL,
    document  TEXT NOT NULL
) STRICT;
CREATE INDEX bid_profiles_by_buyer ON bid_profiles (buyer, id);
CREATE INDEX bid_profiles_by_vertical ON bid_profiles (vertical, id);

-- Daily caps in use.
CREATE TABLE daily_usage (
    bid           BLOB PRIMARY KEY CHECK (length(bid) = 16),
    day           INTEGER NOT NULL,
    calls         INTEGER NOT NULL,
    spend_micros  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- state: ringing, connected, ended. The buyer is that of the attempt in the state, if there is one.
CREATE TABLE calls (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    received_at    INTEGER NOT NULL,
    seller         BLOB NOT NULL,
    buyer          BLOB,
    vertical       TEXT NOT NULL,
    state          TEXT NOT NULL,
    outcome        TEXT CHECK ((outcome IS NOT NULL) = (state = 'ended')),
    charge_micros  INTEGER NOT NULL,
    payout_micros  INTEGER NOT NULL,
    margin_micros  INTEGER NOT NULL,
    document       TEXT NOT NULL
) STRICT;
CREATE INDEX calls_by_time ON calls (received_at, id);
CREATE INDEX calls_by_seller ON calls (seller, received_at, id);
CREATE INDEX calls_by_buyer ON calls (buyer, received_at, id) WHERE buyer IS NOT NULL;
-- Also finds the open calls, whose outcome is NULL, and answers totals without reading the calls themselves.
CREATE INDEX calls_by_outcome ON calls (outcome, received_at, id, charge_micros, payout_micros, margin_micros);

-- How each call was decided; written once.
CREATE TABLE receipts (
    call        BLOB NOT NULL PRIMARY KEY CHECK (length(call) = 16),
    decided_at  INTEGER NOT NULL,
    document    TEXT NOT NULL
) STRICT;
CREATE TRIGGER receipts_are_append_only_update BEFORE UPDATE ON receipts
BEGIN SELECT raise(ABORT, 'receipts are append-only'); END;
CREATE TRIGGER receipts_are_append_only_delete BEFORE DELETE ON receipts
BEGIN SELECT raise(ABORT, 'receipts are append-only'); END;

-- Places where money can be, and how much is there: always the sum of the transfers.
CREATE TABLE ledger_accounts (
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    balance_micros  INTEGER NOT NULL
) STRICT;

-- Money that moved, once for every reason.
CREATE TABLE transfers (
    seq            INTEGER PRIMARY KEY,
    reason         TEXT NOT NULL UNIQUE,
    from_ledger    INTEGER NOT NULL REFERENCES ledger_accounts (id),
    to_ledger      INTEGER NOT NULL REFERENCES ledger_accounts (id) CHECK (to_ledger <> from_ledger),
    amount_micros  INTEGER NOT NULL CHECK (amount_micros > 0),
    at             INTEGER NOT NULL,
    journal_seq    INTEGER
) STRICT;
CREATE INDEX transfers_by_from ON transfers (from_ledger);
CREATE INDEX transfers_by_to ON transfers (to_ledger);
CREATE TRIGGER transfers_are_append_only_update BEFORE UPDATE ON transfers
BEGIN SELECT raise(ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfers_are_append_only_delete BEFORE DELETE ON transfers
BEGIN SELECT raise(ABORT, 'transfers are append-only'); END;

-- Events to be published. Published rows may be cleared away, but not the last one: the next seq follows from it, and
-- a seq must never be used twice. (AUTOINCREMENT would promise the same, and cost a quarter of a commit.)
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY,
    type     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    at       INTEGER NOT NULL,
    data     TEXT NOT NULL
) STRICT;
CREATE TRIGGER outbox_keeps_its_last_row BEFORE DELETE ON outbox
WHEN old.seq = (SELECT max(seq) FROM outbox)
BEGIN SELECT raise(ABORT, 'the last event stays: the next seq follows from it'); END;

-- The secret is never stored, only its SHA-256.
CREATE TABLE api_keys (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    account      BLOB,
    secret_hash  BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;
