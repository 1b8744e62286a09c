-- What happened to an order stands in its own row, and what Twilio told of a
-- text in the text's: a save that appends to either writes that row's page
-- anyway, and a row elsewhere was another page to write for each order, and
-- for each receipt. Both are read as the tables that they were.

-- +goose Up

-- Events as JSON arrays of what the view below makes columns of, oldest first,
-- each after a comma: so one is appended without looking at those before it.
ALTER TABLE conversations ADD COLUMN history TEXT NOT NULL DEFAULT '';
UPDATE conversations SET history = coalesce((
    SELECT group_concat(',' || json_array(at, event, from_state, to_state, channel, note), '')
    FROM (SELECT * FROM events WHERE conversation = conversations.id ORDER BY n)), '');
DROP TABLE events;
CREATE VIEW events AS
    SELECT c.id AS conversation, e.key + 1 AS n, e.value ->> 0 AS at, e.value ->> 1 AS event,
        e.value ->> 2 AS from_state, e.value ->> 3 AS to_state, e.value ->> 4 AS channel, e.value ->> 5 AS note
    FROM conversations AS c, json_each('[' || substr(c.history, 2) || ']') AS e;

-- Receipts likewise, as they came. Those of texts that are not ours stay in a
-- table of their own.
ALTER TABLE messages ADD COLUMN receipts TEXT NOT NULL DEFAULT '';
UPDATE messages SET receipts = coalesce((
    SELECT group_concat(',' || json_array(sid, status, code, at), '')
    FROM (SELECT * FROM receipts WHERE message = messages.id ORDER BY at)), '');
ALTER TABLE receipts RENAME TO stray_receipts;
DELETE FROM stray_receipts WHERE message IN (SELECT id FROM messages);
CREATE VIEW receipts AS
    SELECT m.id AS message, r.value ->> 0 AS sid, r.value ->> 1 AS status, r.value ->> 2 AS code, r.value ->> 3 AS at
    FROM messages AS m, json_each('[' || substr(m.receipts, 2) || ']') AS r
    UNION ALL
    SELECT message, sid, status, code, at FROM stray_receipts;
