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
func stepDown(getenv func(string) string) error {
	as := getenv("RUN_AS")
	if as == "" || os.Geteuid() != 0 {
		return nil
	}
	user, group, _ := strings.Cut(as, ":")
	uid, badUser := strconv.ParseInt(user, 10, 32)
	gid, badGroup := strconv.ParseInt(group, 10, 32)
	if badUser != nil || badGroup != nil || uid <= 0 || gid <= 0 {
		return errors.New("RUN_AS: must be a user's and a group's number, not root's, such as 65532:65532")
	}
	databaseURL, err := database{getenv("DATABASE_URL")}.url(getenv)
	if err != nil {
		return err
	}
	if databaseURL == "" {
		databaseURL = "file:countersign.db"
	}
	if err := ledger.Own(databaseURL, int(uid), int(gid)); err != nil {
		return err
	}
	if err := errors.Join(
		syscall.Setgroups([]int{int(gid)}), syscall.Setgid(int(gid)), syscall.Setuid(int(uid)),
	); err != nil {
		return fmt.Errorf("go on as RUN_AS, %s: %w", as, err)
	}
	return nil
}
