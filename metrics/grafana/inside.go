package main

import "strings"

var inside = board{
	uid:   "countersign-inside",
	title: "countersign / Inside",
	about: "What goes on inside: HTTP, outbox, database, cache, runtime.",
	from:  "now-3h",
	rows: []row{
		{title: "HTTP", panels: []panel{
			{kind: stacked, title: "Requests", wide: 12, unit: perMinute, beside: true,
				about:   "What is asked for, by route.",
				queries: []query{{`sum by (route) (rate(countersign_http_request_duration_seconds_count{*}[$__rate_interval])) * 60`, "{{route}}"}}},
			{kind: stacked, title: "Answers by class", wide: 6, unit: perMinute,
				colors:  classes,
				about:   "2xx and 3xx are what should be; 4xx are people and bots; 5xx are ours.",
				runbook: "pagesfail",
				queries: []query{{`sum by (code) (rate(countersign_http_request_duration_seconds_count{*}[$__rate_interval])) * 60`, "{{code}}"}}},
			{kind: lines, title: "Time to answer", wide: 6, unit: seconds,
				about: "Of all routes but the live stream, which is meant to last.",
				queries: []query{
					{`histogram_quantile(0.5, sum by (le) (rate(countersign_http_request_duration_seconds_bucket{*,route!="/orders/{id}/live"}[$__rate_interval])))`, "half"},
					{`histogram_quantile(0.95, sum by (le) (rate(countersign_http_request_duration_seconds_bucket{*,route!="/orders/{id}/live"}[$__rate_interval])))`, "95 %"},
					{`histogram_quantile(0.99, sum by (le) (rate(countersign_http_request_duration_seconds_bucket{*,route!="/orders/{id}/live"}[$__rate_interval])))`, "99 %"},
				}},
		}},
		{title: "Outbox", panels: []panel{
			{kind: stacked, title: "Texts still to leave", wide: 8, unit: count,
				about:   "Leased: somebody is texting it. Waiting: it is to be tried again. Both fall to nothing when all is well.",
				runbook: "outboxstuck",
				queries: []query{{`max by (state) (countersign_outbox_depth{*,state!="other"})`, "{{state}}"}}},
			{kind: lines, title: "Oldest due text", wide: 8, unit: seconds,
				about: "For how long the oldest text has been due. It rises without end when the outbox is stuck.",
				steps: rising(30, 60), runbook: "outboxstuck",
				queries: []query{{`max(countersign_outbox_oldest_seconds{*})`, "due for"}}},
			{kind: stacked, title: "What is done about failed texts", wide: 8, unit: perMinute,
				colors:  remedies,
				about:   "Retry: the same again, later. Reconcile: look first whether Twilio has it. Hold: this and all others, until what Twilio refuses is mended. Unreachable and opt_out: the order waits for its customer.",
				queries: []query{{`sum by (action) (rate(countersign_text_errors_total{*,action!="other"}[$__rate_interval])) * 60`, "{{action}}"}}},
		}},
		{title: "Database", panels: []panel{
			{kind: lines, title: "Time to commit", wide: 8, unit: seconds,
				about:   "How long a change takes, the wait for its turn and the disk included.",
				runbook: "databasefails",
				queries: []query{
					{`histogram_quantile(0.5, sum by (le) (rate(countersign_save_seconds_bucket{*}[$__rate_interval])))`, "half"},
					{`histogram_quantile(0.99, sum by (le) (rate(countersign_save_seconds_bucket{*}[$__rate_interval])))`, "99 %"},
				}},
			{kind: stacked, title: "Commits", wide: 8, unit: perMinute,
				colors:  commits,
				about:   "Stale ones lost a race and are tried again; heard are texts that Twilio told us twice; spent is a ceiling; error is the database.",
				runbook: "databasefails",
				queries: []query{{`sum by (result) (rate(countersign_saves_total{*,result!="other"}[$__rate_interval])) * 60`, "{{result}}"}}},
			{kind: lines, title: "Connections at work", wide: 8, unit: count,
				about:   "By what they are for. With SQLite the writer has its one for good; readers that stay at their limit wait.",
				runbook: "databasefails",
				queries: []query{{`max by (pool, instance) (countersign_database_connections{*,state="busy"})`, "{{pool}}, {{instance}}"}}},
			{kind: stacked, title: "Waits for a connection", wide: 8, unit: perMinute,
				about:   "How often all connections were at work, or one had to be made first. A few are nothing; many are a slow database, or too few connections (pool_max_conns in DATABASE_URL).",
				runbook: "databasefails",
				queries: []query{{`sum by (pool) (rate(countersign_database_waits_total{*}[$__rate_interval])) * 60`, "{{pool}}"}}},
			{kind: lines, title: "Open orders", wide: 8, unit: count,
				about:   "Orders that wait for their customer. It follows the day; a steady climb means that orders no longer end.",
				queries: []query{{`max(countersign_open_orders{*})`, "open"}}},
			{kind: lines, title: "Age of the census", wide: 8, unit: seconds,
				about: "How long ago the database was last counted. While it grows, open orders and the outbox are drawn as they were.",
				steps: rising(60, 300), runbook: "censusold",
				queries: []query{{`time() - max(countersign_census_timestamp_seconds{*} > 0)`, "ago"}}},
		}},
		{title: "PIN cache", panels: []panel{
			{kind: lines, title: "Found in the cache", wide: 12, unit: share, most: 1,
				about:   "The share of look-ups that needed no read. It starts from nothing at every start; evictions cost reads, and nothing else.",
				queries: []query{{window("$__rate_interval", `sum(rate(countersign_pin_cache_lookups_total{*,result="hit"}[WINDOW])) / (sum(rate(countersign_pin_cache_lookups_total{*}[WINDOW])) > 0)`), "hits"}}},
			{kind: lines, title: "Lines in the cache", wide: 12, unit: count,
				about:   "PIN_CACHE bounds it, on each machine.",
				queries: []query{{`countersign_pin_cache_entries{*}`, "{{instance}}"}}},
		}},
		{title: "Runtime", panels: []panel{
			{kind: lines, title: "Processor", wide: 6, unit: count,
				about:   "Cores in use, by machine.",
				queries: []query{{ours(`rate(process_cpu_seconds_total{*}[$__rate_interval])`), "{{instance}}"}}},
			{kind: lines, title: "Memory", wide: 6, unit: size,
				about: "What the process holds, and the part of it that is live on the heap.",
				queries: []query{
					{ours(`process_resident_memory_bytes{*}`), "resident, {{instance}}"},
					{ours(`go_memstats_heap_inuse_bytes{*}`), "heap, {{instance}}"},
				}},
			{kind: lines, title: "Goroutines", wide: 6, unit: count,
				about:   "An open order page holds a few. A steady climb is a leak: take a profile from /debug/pprof/goroutine.",
				queries: []query{{ours(`go_goroutines{*}`), "{{instance}}"}}},
			{kind: lines, title: "Open files", wide: 6, unit: share, most: 1,
				about:   "The share of the file descriptors that the process may have.",
				steps:   rising(0.7, 0.9),
				queries: []query{{ours(`process_open_fds{*} / process_max_fds{*}`), "{{instance}}"}}},
		}},
	},
}

// ours keeps, of what every Go program exposes, that of this service.
func ours(expr string) string { return expr + ` and on (instance) countersign_build_info{*}` }

func window(w, expr string) string { return strings.ReplaceAll(expr, "WINDOW", w) }

// whole takes expr over the time shown.
func whole(expr string) string { return window("$__range", expr) }

// hour takes expr over the hour before each point: the ratio of things that
// are rarer than the points of a graph.
func hour(expr string) string { return window("1h", expr) }
