package phonebooth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// maxPhones is how many telephones the page remembers.
const maxPhones = 50

// routes is the booth's door.
func (b *Booth) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/"+apiVersion+"/", b.rest)

	control := func(pattern string, fn func(*http.Request) (int, any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			status, body, err := fn(r)
			if err != nil {
				status, body = http.StatusUnprocessableEntity, map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			_ = e.Encode(body) // whoever went away needs no answer
		})
	}
	control("GET /booth/messages", func(r *http.Request) (int, any, error) {
		return http.StatusOK, b.Messages(number(r.URL.Query().Get("to"))), nil
	})
	control("POST /booth/phones/{number}/texts", func(r *http.Request) (int, any, error) {
		var t Text
		if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
			return 0, nil, fmt.Errorf("read the JSON body: %w", err)
		}
		answer, err := b.Text(number(r.PathValue("number")), t)
		return http.StatusOK, answer, err
	})
	control("POST /booth/phones", b.addPhone)
	control("DELETE /booth/phones/{number}", b.removePhone)
	control("GET /booth/faults", func(*http.Request) (int, any, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return http.StatusOK, b.faults.list(), nil
	})
	control("POST /booth/faults", b.addFault)
	control("DELETE /booth/faults", b.liftFaults)
	control("DELETE /booth/faults/{id}", b.liftFaults)
	control("GET /booth/debugger", func(*http.Request) (int, any, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return http.StatusOK, b.debugger.list(), nil
	})
	control("GET /booth/webhooks", func(*http.Request) (int, any, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return http.StatusOK, b.webhooks.list(), nil
	})
	control("GET /booth/state", func(*http.Request) (int, any, error) { return http.StatusOK, b.state(), nil })
	control("POST /booth/clock", b.advance)
	control("POST /booth/tokens/promote", b.promote)
	control("POST /booth/reset", func(*http.Request) (int, any, error) {
		b.Reset()
		return http.StatusOK, map[string]bool{"reset": true}, nil
	})
	mux.HandleFunc("GET /booth/events", b.events)
	b.pages(mux)
	// A page elsewhere must not text, or break things, through a visitor.
	return http.NewCrossOriginProtection().Handler(mux)
}

// read reads a JSON body; none at all is an empty one. An unknown field is an
// error: a fault that is misspelt would otherwise never strike.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the JSON body: %w", err)
	}
	return nil
}

// meet shows number's telephone on the page. The caller holds the lock.
func (b *Booth) meet(number string) {
	if slices.Contains(b.phones, number) {
		return
	}
	b.phones = append(b.phones, number)
	if len(b.phones) > maxPhones {
		b.phones = slices.Delete(b.phones, 0, len(b.phones)-maxPhones)
	}
}

func (b *Booth) addPhone(r *http.Request) (int, any, error) {
	var p struct {
		Number string `json:"number"`
	}
	if err := read(r, &p); err != nil {
		return 0, nil, err
	}
	n := number(p.Number)
	if !e164.MatchString(n) {
		return 0, nil, fmt.Errorf("%q is not a number like +14155550123", p.Number)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meet(n)
	b.changed()
	return http.StatusCreated, map[string]string{"number": n}, nil
}

func (b *Booth) removePhone(r *http.Request) (int, any, error) {
	n := number(r.PathValue("number"))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phones = slices.DeleteFunc(b.phones, func(p string) bool { return p == n })
	b.changed()
	return http.StatusOK, map[string]string{"number": n}, nil
}

func (b *Booth) addFault(r *http.Request) (int, any, error) {
	var f Fault
	if err := read(r, &f); err != nil {
		return 0, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := b.faults.add(f)
	b.changed()
	return http.StatusCreated, f, err
}

// liftFaults ends the fault that the path names, or all.
func (b *Booth) liftFaults(r *http.Request) (int, any, error) {
	id := 0
	if s := r.PathValue("id"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return 0, nil, fmt.Errorf("no fault %q", s)
		}
		id = n
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.faults.lift(id) {
		return http.StatusNotFound, map[string]string{"error": "no such fault in force"}, nil
	}
	b.changed()
	return http.StatusOK, b.faults.list(), nil
}

// advance lets time pass for the booth alone.
func (b *Booth) advance(r *http.Request) (int, any, error) {
	var c struct {
		Advance Duration `json:"advance"`
	}
	if err := read(r, &c); err != nil {
		return 0, nil, err
	}
	if c.Advance < 0 {
		return 0, nil, errors.New("time does not go back; reset does")
	}
	b.Advance(time.Duration(c.Advance))
	return http.StatusOK, map[string]time.Time{"now": b.now().UTC()}, nil
}

// promote retires the primary auth token, and signs with the next.
func (b *Booth) promote(*http.Request) (int, any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.tokens) < 2 {
		return http.StatusConflict, map[string]string{"error": "there is no secondary token to promote"}, nil
	}
	b.tokens = b.tokens[1:]
	b.changed()
	return http.StatusOK, map[string]int{"tokens": len(b.tokens)}, nil
}
