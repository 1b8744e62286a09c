-- Lines are read together, as they are saved.
--
-- +goose Up

-- countersign_lines loads lines with the conversations that hang on them: those
-- asked for, each by its place in the lists, from 1; a row for each conversation,
-- or one if there is none. A line never saved has no row.
--
-- It is a function for its settings, and OFFSET 0 keeps what stands before it
-- from being made a join of: as a statement, prepared while the tables were
-- small, it went on to read the whole table of conversations for every line.
-- +goose StatementBegin
CREATE FUNCTION countersign_lines(numbers text[], senders text[]) RETURNS TABLE (
    asked bigint,
    version bigint, opted_out bigint, line_misses integer, hints integer,
    texts bigint[], serials bigint[], answers bigint[], topic uuid,
    -- and a row of conversations
    id uuid, number text, sender text, browser bytea, state text, reference text, amount text, entries text,
    complete boolean, proved bigint, serial bigint, serial_key text, serial_length integer,
    serial_reference text, serial_amount text, serial_expires bigint, misses integer, texted bigint,
    message uuid, failure text, created bigint, deadline bigint, ended bigint
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT a.n, l.version, l.opted_out, l.misses, l.hints, l.texts, l.serials, l.answers, l.topic, c.*
        FROM unnest(numbers, senders) WITH ORDINALITY AS a (number, sender, n)
        CROSS JOIN LATERAL (
            SELECT * FROM lines WHERE (number, sender) = (a.number, a.sender) OFFSET 0
        ) AS l
        LEFT JOIN LATERAL (
            SELECT * FROM conversations WHERE id = ANY (l.conversations) AND (number, sender) = (l.number, l.sender) OFFSET 0
        ) AS c ON true;
END
$$;
-- +goose StatementEnd
