-- PostgreSQL compiles a statement (JIT) whose plan looks expensive, and so each
-- save's, in which one of the lookups, seldom made, goes by how many texts there
-- are. From some half a million on, what takes a millisecond took fifty: each
-- save was compiled again.
-- https://www.postgresql.org/docs/current/jit-decision.html

-- +goose Up

ALTER FUNCTION countersign_group SET jit = off;
ALTER FUNCTION countersign_lines SET jit = off;
ALTER FUNCTION countersign_commit SET jit = off;
ALTER FUNCTION countersign_save SET jit = off;
