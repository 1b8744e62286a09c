package ledger

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// remedies say what to do about SQLite's errors, by primary result code
// (https://www.sqlite.org/rescode.html).
var remedies = map[int]string{
	sqlite3.SQLITE_BUSY:     "another program holds the file's lock (a shell in a transaction, a backup?): let it finish",
	sqlite3.SQLITE_LOCKED:   "another program holds the file's lock (a shell in a transaction, a backup?): let it finish",
	sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: does its directory exist, and may we read and write there?",
	sqlite3.SQLITE_READONLY: "the file cannot be written: look at its owner and mode, and its directory's",
	sqlite3.SQLITE_PERM:     "the file may not be used: look at its owner and mode",
	sqlite3.SQLITE_FULL:     "the disk is full: free some space, then all goes on by itself",
	sqlite3.SQLITE_IOERR:    "the disk fails: look at the system's log",
	sqlite3.SQLITE_CORRUPT:  "the file is damaged: stop, keep a copy, and restore a backup",
	sqlite3.SQLITE_NOTADB:   "the file is no SQLite database, or damaged: is DATABASE_URL right?",
}

// explain adds to SQLite's errors what to do about them.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	if remedy, ok := remedies[e.Code()&0xff]; ok { // the low byte is the primary code
		return fmt.Errorf("%s: %w", remedy, err)
	}
	return err
}
