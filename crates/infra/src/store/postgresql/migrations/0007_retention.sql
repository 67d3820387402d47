-- Retention: a month leaves by itself, when it is over, its time is over and nobody needs anything of it any more.

-- The months there are partitions of, and with what they leave: whatever hangs on calls with the calls, every other table by itself.
CREATE VIEW months (leaves_with, month) AS
    SELECT DISTINCT CASE WHEN m.by_id THEN 'calls' ELSE m.parent END, to_date(right(c.relname, 7), 'YYYY_MM')
    FROM monthly m
    JOIN pg_inherits i ON i.inhparent = m.parent::regclass
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relname ~ '_\d{4}_\d{2}$';

-- Detaches one month of what leaves together, and gives of how many tables; 0 when it has to stay: one of its calls is open, may still
-- bring revenue or is disputed, or one of its events was not read by everybody (`read_up_to` is the last that was). Detached transfers
-- become opening balances, so that the books still add up. What is detached stays, as tables of its own, to be dumped and dropped; but
-- events are dropped at once: they are copies of what the records say.
--
-- What takes long is done while only the month itself is locked, to which nobody writes. Tables are locked in the order in which the
-- writer takes them.
CREATE FUNCTION detach_month(what text, this_month date, read_up_to bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    suffix text := to_char(this_month, '_YYYY_MM');
    parents text[]; parent text; part text; is_needed boolean; row_counts bigint[] := '{}'; seqs_max bigint[] := '{}';
    row_count bigint; seq_max bigint; ledgers bigint[]; changes bigint[];
BEGIN
    SELECT array_agg(m.parent ORDER BY array_position(ARRAY['calls', 'receipts', 'auction_buyers', 'transfers'], m.parent)) INTO parents
    FROM monthly m JOIN pg_inherits i ON i.inhparent = m.parent::regclass AND i.inhrelid = to_regclass(quote_ident(m.parent || suffix))
    WHERE CASE WHEN m.by_id THEN 'calls' ELSE m.parent END = what;
    FOREACH parent IN ARRAY coalesce(parents, '{}') LOOP
        part := parent || suffix;
        EXECUTE format('LOCK TABLE %I IN SHARE MODE', part);
        IF parent = 'calls' THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %1$I WHERE outcome IS NULL)
                OR EXISTS (SELECT FROM %1$I WHERE awaits_revenue_until IS NOT NULL)
                OR EXISTS (SELECT FROM disputes d JOIN %1$I c ON c.id = d.call WHERE d.stage = ''open'')', part) INTO is_needed;
            IF is_needed THEN RETURN 0; END IF;
        END IF;
        IF parent = 'transfers' THEN
            EXECUTE format('SELECT array_agg(ledger), array_agg(change) FROM (
                SELECT ledger, sum(change)::bigint AS change FROM (
                    SELECT from_ledger AS ledger, -amount_micros AS change FROM %1$I
                    UNION ALL SELECT to_ledger, amount_micros FROM %1$I) moved GROUP BY ledger) t', part) INTO ledgers, changes;
        END IF;
        seq_max := NULL;
        IF parent = 'transfers' OR what <> 'calls' THEN
            EXECUTE format('SELECT max(seq) FROM %I', part) INTO seq_max;
        END IF;
        IF parent = 'outbox' AND seq_max > read_up_to THEN RETURN 0; END IF;
        EXECUTE format('SELECT count(*) FROM %I', part) INTO row_count;
        row_counts := row_counts || row_count;
        seqs_max := seqs_max || seq_max;
    END LOOP;
    FOR place IN 1 .. coalesce(array_length(parents, 1), 0) LOOP
        part := parents[place] || suffix;
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parents[place], part);
        INSERT INTO detached (partition, parent, month, row_count, seq_max)
        VALUES (part, parents[place], this_month, row_counts[place], seqs_max[place]);
        IF parents[place] = 'outbox' THEN EXECUTE format('DROP TABLE %I', part); END IF;
    END LOOP;
    UPDATE ledger_accounts l SET opening_micros = l.opening_micros + t.change
    FROM unnest(ledgers, changes) AS t (ledger, change) WHERE l.id = t.ledger;
    RETURN coalesce(array_length(parents, 1), 0);
END $$;

-- As before, for all months before a day at once. Events stay that a reader of the outbox has not had.
CREATE OR REPLACE FUNCTION detach_partitions(before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    what text; this_month date; done integer := 0;
    read_up_to bigint := coalesce((SELECT min(seq) FROM cursors WHERE name NOT LIKE 'floor %'), 9223372036854775807);
BEGIN
    FOR what, this_month IN
        SELECT leaves_with, month FROM months WHERE month + interval '1 month' <= before ORDER BY month, leaves_with
    LOOP
        done := done + detach_month(what, this_month, read_up_to);
    END LOOP;
    RETURN done;
END $$;
