package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A measure is something that is measured beside the roads.
type measure struct {
	name string
	make func(c *conductor, ctx context.Context) error
}

// measures are in the order in which they are made, after the roads.
var measures = []measure{
	{"postgres", (*conductor).onPostgres},
	{"slow", (*conductor).slowTwilio},
	{"steady", (*conductor).steadyRate},
	{"start", (*conductor).starting},
	{"line", (*conductor).cachedLine},
	{"million", (*conductor).million},
}

// byName are measured only where they are named, since they take long.
var byName = []measure{
	{"scale", (*conductor).scaling},
}

// names are of all roads and measures.
func names() []string {
	var all []string
	for _, r := range roads {
		all = append(all, r.name)
	}
	for _, m := range measures {
		all = append(all, m.name)
	}
	return all
}

// choose reads a list of names.
func choose(list string) ([]string, error) {
	if list == "" {
		return names(), nil
	}
	chosen := strings.Split(list, ",")
	known := names()
	for _, m := range byName {
		known = append(known, m.name)
	}
	for _, name := range chosen {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("nothing is called %q; there are %s", name, strings.Join(known, " "))
		}
	}
	return chosen, nil
}

// measure makes the chosen measurements, and writes down what they tell.
func (c *conductor) measure(ctx context.Context) error {
	if slices.ContainsFunc(c.only, func(name string) bool { return roadNamed(name) != nil }) {
		if err := c.byRoad(ctx); err != nil {
			return err
		}
	}
	for _, m := range slices.Concat(measures, byName) {
		if !slices.Contains(c.only, m.name) {
			continue
		}
		if err := m.make(c, ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return c.report.publish(c.stdout, c.out)
}

// byRoad measures the roads on SQLite.
func (c *conductor) byRoad(ctx context.Context) (err error) {
	limit, err := c.startLimit(ctx)
	if err != nil {
		return err
	}
	defer limit.stop(&err)
	service, err := c.startService(ctx, "service", c.sqlite("roads"))
	if err != nil {
		return err
	}
	defer service.stop(&err)
	p, err := c.newPlay(ctx, limit, service)
	if err != nil {
		return err
	}
	for _, r := range roads {
		if !slices.Contains(c.only, r.name) {
			continue
		}
		limits, services, err := p.measure(ctx, r)
		if err != nil {
			return err
		}
		c.say("%s", c.report.road(r, limits, services))
	}
	return nil
}
