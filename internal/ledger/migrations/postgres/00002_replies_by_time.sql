-- Customers' texts by when they came, for ops: what an order's numbers texted
-- in its time is one range of this index.
--
-- It is appended to at its end, so that the rows of many commits share a page.
-- Without it, ops would have to read the whole table, which has none but sids.

-- +goose Up

CREATE INDEX inbound_at ON inbound (at, number);
