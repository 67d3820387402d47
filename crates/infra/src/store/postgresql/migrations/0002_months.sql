-- Partitions: made ahead, and detached when their time is over.

-- What was detached, for the audit and for whoever looks for it.
CREATE TABLE detached (
    partition    text PRIMARY KEY,
    parent       text NOT NULL,
    month        date NOT NULL,
    row_count    bigint NOT NULL,
    seq_max      bigint,
    detached_at  timestamptz NOT NULL DEFAULT now()
);

-- The tables that have a partition for every month, and the column that says which.
CREATE VIEW monthly (parent, key, by_id) AS VALUES
    ('calls', 'id', true), ('receipts', 'call', true), ('transfers', 'call', true),
    ('journal', 'at', false), ('outbox', 'at', false);

-- Where a month begins, as a UUID or as microseconds. The id of all zeros belongs to no month; one of version 7 is never this low in
-- its millisecond.
CREATE FUNCTION month_bound(month date, by_id boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN by_id
        THEN (lpad(to_hex((extract(epoch FROM month::timestamp) * 1000)::bigint), 12, '0') || lpad('1', 20, '0'))::uuid::text
        ELSE ((extract(epoch FROM month::timestamp) * 1000000)::bigint)::text END
$$;

-- Makes the partitions of `months` months from that of `from_day` on, unless they are there. Gives how many it made. Rows that
-- came before their partition, and went to the default one, are moved.
CREATE FUNCTION make_partitions(from_day date, months integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month date; parent text; key text; by_id boolean; part text; low text; high text; made integer := 0;
BEGIN
    PERFORM set_config('dce.moving_rows', 'yes', true);
    FOR ahead IN 0 .. months - 1 LOOP
        month := date_trunc('month', from_day::timestamp) + make_interval(months => ahead);
        FOR parent, key, by_id IN SELECT * FROM monthly LOOP
            part := parent || to_char(month, '_YYYY_MM');
            CONTINUE WHEN to_regclass(quote_ident(part)) IS NOT NULL;
            low := month_bound(month, by_id);
            high := month_bound((month + interval '1 month')::date, by_id);
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
            EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
                parent || '_default', key, low, key, high, part);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, low, high);
            made := made + 1;
        END LOOP;
    END LOOP;
    PERFORM set_config('dce.moving_rows', 'no', true);
    RETURN made;
END $$;

-- Detaches the partitions of all whole months before `before`. They stay, as tables of their own, to be dumped and dropped. A
-- month is left alone while one of its calls is open. Detached transfers become opening balances, so that the books still add up.
-- Gives how many it detached.
CREATE FUNCTION detach_partitions(before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parent text; part text; month date; open_calls bigint; seq_max bigint; row_count bigint; done integer := 0;
BEGIN
    -- The writer waits meanwhile: balances and openings change together.
    PERFORM 1 FROM writer FOR UPDATE;
    FOR parent, part IN
        SELECT m.parent, c.relname FROM monthly m
        JOIN pg_inherits i ON i.inhparent = m.parent::regclass
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relname ~ '_\d{4}_\d{2}$' ORDER BY right(c.relname, 7), m.parent
    LOOP
        month := to_date(right(part, 7), 'YYYY_MM');
        CONTINUE WHEN month + interval '1 month' > before;
        IF parent IN ('calls', 'receipts', 'transfers') THEN
            -- Once the month's calls are detached the rest of the month follows.
            IF to_regclass('calls' || to_char(month, '_YYYY_MM')) IS NOT NULL THEN
                EXECUTE format('SELECT count(*) FROM %I WHERE outcome IS NULL', 'calls' || to_char(month, '_YYYY_MM')) INTO open_calls;
                CONTINUE WHEN open_calls > 0;
            END IF;
        END IF;
        IF parent = 'transfers' THEN
            EXECUTE format('UPDATE ledger_accounts l SET opening_micros = l.opening_micros + t.change FROM (
                SELECT ledger, sum(change) AS change FROM (
                    SELECT from_ledger AS ledger, -amount_micros AS change FROM %1$I
                    UNION ALL SELECT to_ledger, amount_micros FROM %1$I) moved GROUP BY ledger) t
                WHERE l.id = t.ledger', part);
        END IF;
        IF parent IN ('journal', 'outbox', 'transfers') THEN
            EXECUTE format('SELECT count(*), max(seq) FROM %I', part) INTO row_count, seq_max;
        ELSE
            EXECUTE format('SELECT count(*) FROM %I', part) INTO row_count;
            seq_max := NULL;
        END IF;
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
        INSERT INTO detached (partition, parent, month, row_count, seq_max) VALUES (part, parent, month, row_count, seq_max);
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
