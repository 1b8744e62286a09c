package ledger

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// A proxy stands between a ledger and its server, and is the network that
// fails.
type proxy struct {
	t      *testing.T
	server string // its socket
	listen net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	fault fault
	// struck is closed once the fault has been.
	struck chan struct{}
}

// A fault is what becomes of the next exchange.
type fault int

const (
	none        fault = iota
	loseRequest       // the connection breaks before the server hears
	loseAnswer        // it breaks after the server has answered
	freeze            // from then on nothing arrives anywhere, and nothing breaks
)

// cancelRequest begins what asks the server to end another connection's
// statement. It is always lost: a server whose client is gone works on.
var cancelRequest = []byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e}

// newProxy returns a proxy and the database URL that leads through it.
func newProxy(t *testing.T, databaseURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	const name = ".s.PGSQL.5432"
	p := &proxy{t: t, server: filepath.Join(q.Get("host"), name), conns: map[net.Conn]bool{}}
	dir := t.TempDir()
	p.listen, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	go p.serve()
	t.Cleanup(p.close)
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return p, u.String()
}

func (p *proxy) serve() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(p.t.Context(), "unix", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go p.pass(client, server, loseRequest)
		go p.pass(server, client, loseAnswer)
	}
}

// pass passes on what one says to the other, unless the fault is that.
func (p *proxy) pass(from, to net.Conn, lose fault) {
	defer func() { _, _ = from.Close(), to.Close() }()
	for buffer := make([]byte, 1<<16); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if bytes.HasPrefix(buffer[:n], cancelRequest) {
			return
		}
		p.mu.Lock()
		is := p.fault
		if is == lose {
			p.fault = none
			close(p.struck)
		}
		p.mu.Unlock()
		if is == lose {
			return
		}
		if is == freeze {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// strike arms a fault, and returns what is closed once it has been.
func (p *proxy) strike(f fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.struck = f, make(chan struct{})
	return p.struck
}

// close ends all connections, and lets nobody in any more.
func (p *proxy) close() {
	_ = p.listen.Close()
	p.cut()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}
