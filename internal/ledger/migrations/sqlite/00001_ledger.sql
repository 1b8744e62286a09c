-- The ledger on SQLite.
--
-- Ids are UUIDv7 as 16 bytes: time-ordered, so that new rows lie together and
-- the rows of some hours are one range. Times are Unix milliseconds, NULL for
-- never. There are few indexes, and those are partial: each one is another
-- page to write with every save.
--
-- No column holds a PIN, nor what a customer's text said.

-- +goose Up

-- A customer's number with our sender. All that hangs on it changes only with
-- its version.
CREATE TABLE lines (
    number        TEXT    NOT NULL,
    sender        TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    opted_out     INTEGER,
    misses        INTEGER NOT NULL,
    hints         INTEGER NOT NULL,
    texts         TEXT    NOT NULL, -- this and the next two: JSON arrays of times
    serials       TEXT    NOT NULL,
    answers       TEXT    NOT NULL,
    topic         BLOB,             -- an order that a bare NO or NEW may speak of
    conversations TEXT    NOT NULL, -- ids of the open ones, and of the topic: a JSON array of hex
    PRIMARY KEY (number, sender)
) STRICT, WITHOUT ROWID;

-- One for each order.
CREATE TABLE conversations (
    id               BLOB    NOT NULL PRIMARY KEY, -- the order's
    number           TEXT    NOT NULL,
    sender           TEXT    NOT NULL,
    browser          BLOB    NOT NULL,
    state            TEXT    NOT NULL,
    reference        TEXT    NOT NULL,
    amount           TEXT    NOT NULL,
    entries          TEXT    NOT NULL, -- the order form, as a JSON array
    complete         INTEGER NOT NULL,
    proved           INTEGER,
    serial           INTEGER NOT NULL, -- HOTP's counter; with the next five it derives the PIN
    serial_key       TEXT    NOT NULL, -- the secret key's id
    serial_length    INTEGER NOT NULL,
    serial_reference TEXT    NOT NULL,
    serial_amount    TEXT    NOT NULL,
    serial_expires   INTEGER,
    misses           INTEGER NOT NULL,
    texted           INTEGER,
    message          BLOB,
    failure          TEXT    NOT NULL,
    created          INTEGER,
    deadline         INTEGER,
    ended            INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_open ON conversations (deadline, state)
    WHERE state IN ('asked', 'locked', 'unreachable');

-- The outbox: our texts, without their bodies.
CREATE TABLE messages (
    id           BLOB    NOT NULL PRIMARY KEY,
    conversation BLOB    NOT NULL,
    number       TEXT    NOT NULL,
    sender       TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    serial       INTEGER NOT NULL,
    locale       TEXT    NOT NULL,
    reference    TEXT    NOT NULL,
    amount       TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    unknown      INTEGER NOT NULL,
    due          INTEGER,
    created      INTEGER,
    attempted    INTEGER,
    sid          TEXT    NOT NULL, -- not indexed: a receipt's URL names our id
    status       TEXT    NOT NULL,
    code         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_due ON messages (due, state)
    WHERE state IN ('leased', 'waiting');

-- Customers' texts: how each was read and answered, not what it said.
CREATE TABLE inbound (
    sid          TEXT    NOT NULL PRIMARY KEY,
    number       TEXT    NOT NULL,
    sender       TEXT    NOT NULL,
    at           INTEGER,
    read         TEXT    NOT NULL,
    conversation BLOB,
    reply        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What Twilio told of our texts. A receipt told again is the same one.
CREATE TABLE receipts (
    message BLOB    NOT NULL, -- sixteen zeros if the receipt did not name it
    sid     TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    code    INTEGER NOT NULL,
    at      INTEGER,
    PRIMARY KEY (message, sid, status)
) STRICT, WITHOUT ROWID;

-- The orders' histories, each as one range.
CREATE TABLE events (
    conversation BLOB    NOT NULL,
    n            INTEGER NOT NULL, -- from 1
    at           INTEGER,
    event        TEXT    NOT NULL,
    from_state   TEXT    NOT NULL,
    to_state     TEXT    NOT NULL,
    channel      TEXT    NOT NULL,
    note         TEXT    NOT NULL,
    PRIMARY KEY (conversation, n)
) STRICT, WITHOUT ROWID;

-- What all lines share, such as the texts of a day.
CREATE TABLE totals (
    name TEXT    NOT NULL PRIMARY KEY,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
