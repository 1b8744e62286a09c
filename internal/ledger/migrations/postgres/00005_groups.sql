-- Changes that are saved together are checked and written table by table, no
-- longer one by one: most of a statement's price is paid before it touches a
-- row. countersign_commit and countersign_save stay, for programs that were
-- there before this.
--
-- +goose Up

-- The rows of a group, each with its change's place in the group, from 1. What
-- becomes a row of a table is named after it, and has its columns.

CREATE TYPE group_line AS (
    change integer, number text, sender text,
    version bigint, -- that it gets
    opted_out bigint, misses integer, hints integer, texts bigint[], serials bigint[], answers bigint[],
    topic uuid, conversations uuid[],
    listed uuid[] -- all orders that are saved with it, changed or not
);

CREATE TYPE group_conversation AS (
    change integer, id uuid, number text, sender text, browser bytea, state text,
    reference text, amount text, entries text, complete boolean, proved bigint,
    serial bigint, serial_key text, serial_length integer, serial_reference text, serial_amount text,
    serial_expires bigint, misses integer, texted bigint, message uuid, failure text,
    created bigint, deadline bigint, ended bigint
);

CREATE TYPE group_message AS (
    change integer, id uuid, conversation uuid, number text, sender text, kind text, serial bigint, locale text,
    reference text, amount text, state text, attempt integer, unknown integer,
    due bigint, created bigint, attempted bigint, sid text, status text, rank integer, code integer
);

CREATE TYPE group_settlement AS (
    change integer, message uuid, attempt integer, state text, unknown integer,
    due bigint, attempted bigint, sid text, code integer,
    adopted_since uuid -- the least id of a message that must not have the sid; NULL if it need not be looked for
);

CREATE TYPE group_inbound AS (
    change integer, sid text, number text, sender text, at bigint, read text, conversation uuid, reply text
);

CREATE TYPE group_receipt AS (
    change integer, message uuid, sid text, status text, rank integer, code integer, at bigint
);

CREATE TYPE group_event AS (
    change integer, conversation uuid, at bigint, event text, from_state text, to_state text, channel text, note text
);

CREATE TYPE group_spend AS (
    change integer, name text, n bigint,
    upto bigint, -- n and what the change spends of the same total before it
    most bigint
);

-- countersign_group saves a group of changes, and returns what became of each:
-- '' or, with nothing of it written, what is against it: heard, stale, claimed,
-- spent, or in a sentence what only a bug can ask for, be it one of the flaws
-- that it is told of. It is one statement, and so one round trip and one
-- transaction.
--
-- No two changes of a group name the same thing, but for totals. So none is
-- anything to another's checks, and all are checked before any is written.
--
-- The locks of all that is named are taken first, in one order, so that no two
-- transactions wait for each other; what is checked then stays so. Should
-- somebody write without them, the guards in the statements refuse: they raise
-- 40001, and the transaction is done again. Last, the outcomes are noted under
-- their writer and round, for who loses the answer.
--
-- It wants READ COMMITTED: each statement sees what was committed by whom the
-- locks made it wait for. Its settings have rows looked up by their keys also
-- in tables that were small when the plan was made, and OFFSET 0 keeps a lookup
-- from being made a join of, of which the planner would know too little.
-- +goose StatementBegin
CREATE FUNCTION countersign_group(
    writer uuid, this_round bigint, locks bigint[], flaws text[],
    new_lines group_line[], new_conversations group_conversation[], new_messages group_message[],
    settlements group_settlement[], new_inbound group_inbound[], new_receipts group_receipt[],
    new_events group_event[], spends group_spend[]
) RETURNS text[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    outcomes text[] := array_fill(''::text, ARRAY[cardinality(flaws)]);
    refused integer;
    verdict record;
    rows_written integer;
BEGIN
    PERFORM pg_advisory_xact_lock(lock) FROM unnest(locks) AS lock;

    -- What is against a change, in the order of precedence; a flaw comes after
    -- what may be spent.
    FOR verdict IN
        SELECT change, 1 AS rank, 'heard' AS said FROM unnest(new_inbound) AS new
        WHERE EXISTS (SELECT FROM inbound WHERE sid = new.sid OFFSET 0)
        UNION ALL
        SELECT new.change, CASE WHEN stale THEN 2 END, CASE WHEN stale THEN 'stale' ELSE flaw END
        FROM unnest(new_lines) AS new
        LEFT JOIN LATERAL (
            SELECT version, topic, conversations FROM lines
            WHERE (number, sender) = (new.number, new.sender) OFFSET 0
        ) AS was ON true
        CROSS JOIN LATERAL (SELECT coalesce(was.version, 0) <> new.version - 1 AS stale) AS found
        -- What was on the line and is listed on it is well. A topic may have
        -- moved away, or never have been here.
        LEFT JOIN LATERAL (
            SELECT CASE WHEN its.listed THEN 'order ' || id || ' leaves a line that is not saved with it'
                ELSE 'open order ' || id || ' is left out of its line' END AS flaw
            FROM (
                SELECT id FROM unnest(new.listed) AS id
                    WHERE id = was.topic OR id = ANY (was.conversations) IS NOT TRUE
                UNION ALL
                SELECT id FROM unnest(was.conversations) AS id WHERE id <> ALL (new.listed)
            ) AS moved
            CROSS JOIN LATERAL (
                SELECT number, sender, state FROM conversations WHERE conversations.id = moved.id OFFSET 0
            ) AS c
            CROSS JOIN LATERAL (
                SELECT bool_or(id = ANY (listed)) AS listed, bool_or((number, sender) = (c.number, c.sender)) AS saved
                FROM unnest(new_lines) WHERE change = new.change
            ) AS its
            WHERE its.listed <> its.saved AND (its.listed OR c.state IN ('asked', 'locked', 'unreachable'))
            LIMIT 1
        ) AS flawed ON true
        WHERE stale OR flaw <> ''
        UNION ALL
        -- A taker holds no lock but the row's.
        SELECT change, 2, 'stale' FROM unnest(settlements) AS new
        WHERE NOT EXISTS (
            SELECT FROM messages WHERE id = new.message AND state = 'leased' AND attempt = new.attempt FOR UPDATE)
        UNION ALL
        SELECT change, 3, 'claimed' FROM unnest(settlements) AS new
        WHERE adopted_since IS NOT NULL AND EXISTS (
            SELECT FROM messages WHERE id >= new.adopted_since AND id <> new.message AND sid = new.sid OFFSET 0)
        ORDER BY rank
    LOOP
        IF verdict.rank IS NULL THEN
            flaws[verdict.change] := verdict.said;
        ELSIF outcomes[verdict.change] = '' THEN
            outcomes[verdict.change] := verdict.said;
        END IF;
    END LOOP;

    -- Mostly there is enough for all. If not, it goes by their order.
    IF cardinality(spends) > 0 AND EXISTS (
        SELECT FROM unnest(spends) AS new WHERE outcomes[change] = '' GROUP BY name
        HAVING sum(n) + coalesce((SELECT used FROM totals AS t WHERE t.name = new.name), 0) > min(most)
    ) THEN
        FOR refused IN SELECT DISTINCT change FROM unnest(spends) ORDER BY change LOOP
            IF outcomes[refused] = '' AND EXISTS (
                SELECT FROM unnest(spends) AS new
                WHERE change = refused AND most < upto
                    + coalesce((SELECT used FROM totals WHERE name = new.name), 0)
                    + coalesce((SELECT sum(n) FROM unnest(spends)
                        WHERE name = new.name AND change < refused AND outcomes[change] = '' AND flaws[change] = ''), 0)
            ) THEN
                outcomes[refused] := 'spent';
            END IF;
        END LOOP;
    END IF;

    IF array_to_string(flaws, '') <> '' THEN
        outcomes := ARRAY (
            SELECT coalesce(nullif(outcome, ''), flaw) FROM unnest(outcomes, flaws) WITH ORDINALITY AS o (outcome, flaw, n)
            ORDER BY n);
    END IF;

    -- Nothing is against those whose outcome is '' still.

    IF cardinality(new_conversations) > 0 THEN
        INSERT INTO conversations
            SELECT id, number, sender, browser, state, reference, amount, entries, complete, proved,
                serial, serial_key, serial_length, serial_reference, serial_amount, serial_expires,
                misses, texted, message, failure, created, deadline, ended
            FROM unnest(new_conversations) WHERE outcomes[change] = ''
            ON CONFLICT (id) DO UPDATE SET
                number = excluded.number, sender = excluded.sender,
                browser = excluded.browser, state = excluded.state,
                reference = excluded.reference, amount = excluded.amount, entries = excluded.entries,
                complete = excluded.complete, proved = excluded.proved,
                serial = excluded.serial, serial_key = excluded.serial_key,
                serial_length = excluded.serial_length, serial_reference = excluded.serial_reference,
                serial_amount = excluded.serial_amount, serial_expires = excluded.serial_expires,
                misses = excluded.misses, texted = excluded.texted, message = excluded.message,
                failure = excluded.failure, created = excluded.created,
                deadline = excluded.deadline, ended = excluded.ended;
    END IF;

    IF cardinality(new_lines) > 0 THEN
        INSERT INTO lines AS old
            SELECT number, sender, version, opted_out, misses, hints, texts, serials, answers, topic, conversations
            FROM unnest(new_lines) WHERE outcomes[change] = ''
            ON CONFLICT (number, sender) DO UPDATE SET
                version = excluded.version, opted_out = excluded.opted_out,
                misses = excluded.misses, hints = excluded.hints,
                texts = excluded.texts, serials = excluded.serials, answers = excluded.answers,
                topic = excluded.topic, conversations = excluded.conversations
            WHERE old.version = excluded.version - 1;
        GET DIAGNOSTICS rows_written = ROW_COUNT;
        IF rows_written < cardinality(new_lines) THEN
            IF rows_written < (SELECT count(*) FROM unnest(new_lines) WHERE outcomes[change] = '') THEN
                RAISE 'a line was changed without its lock' USING ERRCODE = '40001';
            END IF;
        END IF;
    END IF;

    IF cardinality(new_messages) > 0 THEN
        INSERT INTO messages
            SELECT id, conversation, number, sender, kind, serial, locale, reference, amount,
                state, attempt, unknown, due, created, attempted, sid, status, rank, code
            FROM unnest(new_messages) WHERE outcomes[change] = '';
    END IF;

    IF cardinality(settlements) > 0 THEN
        UPDATE messages AS m SET
            state = new.state, unknown = new.unknown, due = new.due,
            attempted = coalesce(m.attempted, new.attempted),
            sid = coalesce(nullif(new.sid, ''), m.sid), code = new.code
            FROM unnest(settlements) AS new
            CROSS JOIN LATERAL (SELECT ctid FROM messages WHERE id = new.message OFFSET 0) AS found
            WHERE m.ctid = found.ctid AND outcomes[new.change] = '';
    END IF;

    IF cardinality(new_inbound) > 0 THEN
        INSERT INTO inbound
            SELECT sid, number, sender, at, read, conversation, reply
            FROM unnest(new_inbound) WHERE outcomes[change] = '';
    END IF;

    IF cardinality(new_receipts) > 0 THEN
        INSERT INTO receipts (message, sid, status, code, at)
            SELECT message, sid, status, code, at FROM unnest(new_receipts) WHERE outcomes[change] = ''
            ON CONFLICT DO NOTHING;
        PERFORM FROM unnest(new_receipts) AS new
            CROSS JOIN LATERAL (SELECT FROM messages WHERE id = new.message OFFSET 0 FOR UPDATE) AS held;
        UPDATE messages AS m SET
            status = CASE WHEN new.rank > m.rank THEN new.status ELSE m.status END,
            code = CASE WHEN new.rank > m.rank THEN new.code ELSE m.code END,
            rank = greatest(new.rank, m.rank),
            sid = coalesce(nullif(m.sid, ''), new.sid),
            state = CASE WHEN settles THEN 'accepted' ELSE m.state END,
            unknown = CASE WHEN settles THEN 0 ELSE m.unknown END,
            due = CASE WHEN settles THEN NULL ELSE m.due END
            FROM unnest(new_receipts) AS new
            CROSS JOIN LATERAL (
                -- That there is a receipt settles an open outcome: Twilio has the text.
                SELECT ctid, state = 'leased' OR state = 'waiting' AND unknown > 0 AS settles
                FROM messages WHERE id = new.message OFFSET 0
            ) AS found
            WHERE m.ctid = found.ctid AND outcomes[new.change] = ''
                AND (settles OR new.rank > m.rank OR m.sid = '' AND new.sid <> '');
    END IF;

    IF cardinality(new_events) > 0 THEN
        INSERT INTO events (conversation, at, event, from_state, to_state, channel, note)
            SELECT conversation, at, event, from_state, to_state, channel, note
            FROM unnest(new_events) WHERE outcomes[change] = '';
    END IF;

    IF cardinality(spends) > 0 THEN
        INSERT INTO totals AS old
            SELECT name, sum(n) FROM unnest(spends) WHERE outcomes[change] = '' GROUP BY name
            ON CONFLICT (name) DO UPDATE SET used = old.used + excluded.used
            WHERE old.used + excluded.used <= (
                SELECT max(most) FROM unnest(spends) AS s WHERE s.name = old.name AND outcomes[change] = '');
        GET DIAGNOSTICS rows_written = ROW_COUNT;
        IF rows_written < (SELECT count(DISTINCT name) FROM unnest(spends) WHERE outcomes[change] = '') THEN
            RAISE 'a total was spent without its lock' USING ERRCODE = '40001';
        END IF;
    END IF;

    INSERT INTO writers AS was VALUES (writer, this_round, outcomes, now())
        ON CONFLICT (id) DO UPDATE SET round = excluded.round, outcomes = excluded.outcomes, at = excluded.at
        WHERE was.round = excluded.round - 1;
    IF NOT FOUND THEN
        RAISE 'round % was called off', this_round USING ERRCODE = 'CSOFF';
    END IF;
    RETURN outcomes;
END
$$;
-- +goose StatementEnd
