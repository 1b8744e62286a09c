// Command screenshots draws the README's pictures: it starts the demo, orders
// with a real browser, replies at the telephones, and takes a picture of each.
// What a picture would show wrong ends it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"
)

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := draw(ctx, filepath.Join("docs", "images")); err != nil {
		log.Fatal("screenshots: ", err)
	}
}

func draw(ctx context.Context, into string) error {
	shop, telephones, stop, err := demo(ctx)
	if err != nil {
		return err
	}
	defer stop()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	for _, flag := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars",
		"disable-background-networking", "disable-component-update", "disable-sync",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()

	// Order, without leaving the page.
	err = chromedp.Do(ctx,
		chromedp.EmulateViewport(560, 900),
		chromedp.Navigate(shop),
		chromedp.SendKeys("#name", "Ada Lovelace"),
		chromedp.SendKeys("#address", "12 St James Square"),
		chromedp.SendKeys("#items", "2 × first flush, 1 teapot"),
		chromedp.SendKeys("#mobile_number", "(415) 555-0123"),
		chromedp.Click("#get-pin"),
	)
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if err := await(ctx, `document.getElementById("status").textContent.includes("on its way")`); err != nil {
		return fmt.Errorf("get PIN: %w", err)
	}
	if err := shoot(ctx, into, "order.png"); err != nil {
		return err
	}

	// Read the text at the telephones, in another tab, and reply: wrong, then right.
	booth, cancel := chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(booth, chromedp.EmulateViewport(1180, 1080), chromedp.Navigate(telephones)); err != nil {
		return fmt.Errorf("telephones: %w", err)
	}
	if err := await(booth, `document.querySelector(".otp") !== null`); err != nil {
		return fmt.Errorf("the text: %w", err)
	}
	line, err := chromedp.Run(booth, chromedp.Evaluate[string](`document.querySelector(".otp").textContent`))
	if err != nil {
		return fmt.Errorf("the PIN: %w", err)
	}
	_, pin, _ := strings.Cut(line, "#")
	wrong := strings.NewReplacer("0", "1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6", "6", "7", "7", "8", "8", "9", "9", "0").Replace(pin)
	for _, reply := range []struct{ text, answer string }{
		{"my pin is " + wrong[:3] + " " + wrong[3:], "2 tries left"},
		{pin[:3] + " " + pin[3:], "is confirmed"},
	} {
		if err := chromedp.Do(booth, chromedp.SendKeys(".composer textarea", reply.text+"\r")); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		if err := await(booth, fmt.Sprintf(`document.getElementById("phones").textContent.includes(%q)`, reply.answer)); err != nil {
			return fmt.Errorf("the answer to a reply: %w", err)
		}
	}
	if err := await(booth, `!document.getElementById("phones").textContent.includes("queued")`); err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	if err := shoot(booth, into, "telephones.png"); err != nil {
		return err
	}
	// The order's page has noticed.
	if err := await(ctx, `document.body.textContent.includes("confirmed")`); err != nil {
		return fmt.Errorf("the order's page does not say that it is confirmed: %w", err)
	}
	return nil
}

var address = regexp.MustCompile(`(?m)^  (shop|telephones) +(http://\S+)$`)

// demo starts the demo on free ports and returns its addresses.
func demo(ctx context.Context) (shop, telephones string, stop func(), err error) {
	binary := filepath.Join(os.TempDir(), fmt.Sprintf("countersign-%d", os.Getpid()))
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/countersign") //nolint:gosec // our own
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", "", nil, fmt.Errorf("build: %w", err)
	}
	// It runs on without its name.
	defer func() { _ = os.Remove(binary) }()
	run := exec.CommandContext(ctx, binary, "demo", //nolint:gosec // our own
		"--listen-addr=localhost:0", "--booth-addr=localhost:0", "--ops-addr=localhost:0")
	run.Stderr = os.Stderr
	out, err := run.StdoutPipe()
	if err != nil {
		return "", "", nil, err
	}
	if err := run.Start(); err != nil {
		return "", "", nil, fmt.Errorf("start the demo: %w", err)
	}
	stop = func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		_ = run.Wait()
	}
	var said bytes.Buffer
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		found := map[string]string{}
		for _, m := range address.FindAllStringSubmatch(said.String(), -1) {
			found[m[1]] = m[2]
		}
		if len(found) == 2 {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return found["shop"], found["telephones"], stop, nil
		}
	}
	stop()
	return "", "", nil, errors.New("the demo ended without telling its addresses")
}

// await waits until an expression is true on the page, or the one after it.
func await(ctx context.Context, expression string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func shoot(ctx context.Context, into, name string) error {
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(into, name), picture, 0o644) //nolint:gosec // to be read by all
}
