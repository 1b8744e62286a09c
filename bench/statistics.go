package main

import (
	"cmp"
	"slices"
	"time"
)

// A spread is the middle of some rounds' figures, and the least and the most.
type spread[T cmp.Ordered] struct{ least, median, most T }

func spreadOf[T cmp.Ordered](figures []T) spread[T] {
	sorted := slices.Sorted(slices.Values(figures))
	return spread[T]{sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]}
}

// over is the spread of one figure over rounds.
func over[T cmp.Ordered](rounds []round, figure func(round) T) spread[T] {
	figures := make([]T, len(rounds))
	for i, r := range rounds {
		figures[i] = figure(r)
	}
	return spreadOf(figures)
}

// ratios are those of each round to the other side's round beside it: what the
// machine did meanwhile, it did to both.
func ratios(service, limit []round) spread[float64] {
	var all []float64
	for i := range service {
		all = append(all, float64(service[i].perVisit())/float64(limit[i].perVisit()))
	}
	return spreadOf(all)
}

// quantile is what such a part of all the answers took at most, of all rounds
// together; 0 if there are none.
func quantile(rounds []round, what string, q float64) time.Duration {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, r.took[what]...)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}
