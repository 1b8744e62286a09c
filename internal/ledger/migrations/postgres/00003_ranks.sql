-- Statuses have one order now, good news above bad, so that receipts which
-- contradict each other end in one status whichever came first.

-- +goose Up

UPDATE messages SET rank = coalesce(array_position(ARRAY[
    'scheduled', 'accepted', 'queued', 'sending', 'sent',
    'canceled', 'failed', 'undelivered', 'delivered', 'read'], status), 0) - 1
    WHERE status <> '';
