-- Customers' texts lie as they came, and each line lists the MessageSids of its
-- last ones.
--
-- A sid is as good as random. By it, each text was written to a page of its
-- own among all that ever came, so that a reply's save wrote a third page where
-- its order's and its line's would do. Now the text is appended, and what a
-- repeated webhook is told by stands in the row that a save reads and writes
-- anyway. What would make that row long goes to a table by sid, many at once.

-- And what is open is told by comparisons: of the list that it was SQLite made
-- a table for each row that it wrote.

-- +goose Up

DROP INDEX conversations_open;
CREATE INDEX conversations_open ON conversations (deadline, state)
    WHERE (state = 'asked' OR state = 'locked' OR state = 'unreachable');

ALTER TABLE lines ADD COLUMN heard TEXT NOT NULL DEFAULT '';        -- [sid, at] of texts, each after a comma
ALTER TABLE lines ADD COLUMN heard_more INTEGER NOT NULL DEFAULT 0; -- whether others are in table heard

CREATE TABLE heard (
    sid TEXT    NOT NULL PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO heard SELECT sid, coalesce(at, -62135596800000) FROM inbound;
UPDATE lines SET heard_more = 1 WHERE number IN (SELECT number FROM inbound);

DROP INDEX inbound_at;
ALTER TABLE inbound RENAME TO old_inbound;
CREATE TABLE inbound (
    at           INTEGER NOT NULL,
    sid          TEXT    NOT NULL,
    number       TEXT    NOT NULL,
    sender       TEXT    NOT NULL,
    read         TEXT    NOT NULL,
    conversation BLOB,
    reply        TEXT    NOT NULL,
    PRIMARY KEY (at, sid)
) STRICT, WITHOUT ROWID;

INSERT INTO inbound SELECT coalesce(at, -62135596800000), sid, number, sender, read, conversation, reply
    FROM old_inbound ORDER BY at, sid;
DROP TABLE old_inbound;
