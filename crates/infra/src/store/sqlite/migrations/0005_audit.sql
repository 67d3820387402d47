-- The audit log: who changed what. Each entry's hash covers its content and the hash before it (docs/audit.md).
CREATE TABLE audit_entries (
    seq            INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    api_key        TEXT,
    role           TEXT,
    action         TEXT NOT NULL,
    subject        TEXT NOT NULL,
    detail         TEXT NOT NULL,
    previous_hash  BLOB NOT NULL CHECK (length(previous_hash) = 32),
    hash           BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_entries_by_subject ON audit_entries (subject, seq);
CREATE TRIGGER audit_entries_are_append_only_update BEFORE UPDATE ON audit_entries
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entries_are_append_only_delete BEFORE DELETE ON audit_entries
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;

-- The last entry, as the writer knows it.
CREATE TABLE audit_head (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    hash      BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head VALUES (1, 0, 0, zeroblob(32));

-- Signed statements of how far the log, and the ledger, came.
CREATE TABLE audit_anchors (
    seq       INTEGER PRIMARY KEY,
    document  TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_anchors_are_append_only_update BEFORE UPDATE ON audit_anchors
BEGIN SELECT raise(ABORT, 'anchors are append-only'); END;
CREATE TRIGGER audit_anchors_are_append_only_delete BEFORE DELETE ON audit_anchors
BEGIN SELECT raise(ABORT, 'anchors are append-only'); END;
