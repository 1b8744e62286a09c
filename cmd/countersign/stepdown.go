package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/countersign/countersign/internal/ledger"
)

// stepDown has a process that was started as root go on as RUN_AS, UID:GID,
// once that user owns the database's file. The image asks for it: volumes come
// mounted as root's, on Fly always, and there is no shell to chown them. Every
// command does so, that none leaves a file behind which serve cannot write.
//
// It returns what reads the secrets' files, which often only root may: those
// that there are, it has read before.
func stepDown(getenv func(string) string, databaseURL string) (readFile func(string) ([]byte, error), err error) {
	as := getenv("RUN_AS")
	if as == "" || os.Geteuid() != 0 {
		return os.ReadFile, nil
	}
	user, group, _ := strings.Cut(as, ":")
	uid, badUser := strconv.ParseInt(user, 10, 32)
	gid, badGroup := strconv.ParseInt(group, 10, 32)
	if badUser != nil || badGroup != nil || uid <= 0 || gid <= 0 {
		return nil, errors.New("RUN_AS: must be a user's and a group's number, not root's, such as 65532:65532")
	}
	read := make(map[string][]byte)
	for name := range new(Settings).secretFiles() {
		file := getenv(name + "_FILE")
		// What cannot be read is told by the command that wants it.
		if text, err := os.ReadFile(file); err == nil { //nolint:gosec // the operator names it
			read[file] = text
		}
	}
	readFile = func(file string) ([]byte, error) {
		if text, ok := read[file]; ok {
			return text, nil
		}
		return os.ReadFile(file) //nolint:gosec // the operator names it
	}
	if own, err := (database{databaseURL}).url(getenv, readFile); err == nil && databaseURL != "" {
		if err := ledger.Own(own, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(
		syscall.Setgroups([]int{int(gid)}), syscall.Setgid(int(gid)), syscall.Setuid(int(uid)),
	); err != nil {
		return nil, fmt.Errorf("go on as RUN_AS, %s: %w", as, err)
	}
	return readFile, nil
}
