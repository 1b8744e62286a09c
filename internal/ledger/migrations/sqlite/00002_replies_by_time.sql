-- Customers' texts by when they came, for ops: what an order's numbers texted
-- in its time is one range of this index, which holds all that is asked for.
--
-- It is appended to at its end, so that the rows of many commits share a page:
-- a reply's save costs some 2 µs and 1 KB of writes more. Without it, ops would
-- have to read the whole table, which is ordered by sid.

-- +goose Up

CREATE INDEX inbound_at ON inbound (at, number);
