-- Whoever calls countersign_save, which only older programs have done, has set jit
-- already, for what it calls too: it was set and restored for each save of a group.
-- https://www.postgresql.org/docs/current/sql-createfunction.html

-- +goose Up

ALTER FUNCTION countersign_save RESET jit;
