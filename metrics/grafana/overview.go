package main

// Whether texts fail is judged by tries: one that Twilio took, or one that
// failed for a reason that is not the customer's number, phone or wish. To the
// customer it is all one whether the reason is our account (config), of which
// an alert of its own tells.
const (
	taken    = `sum(increase(countersign_texts_total{*,outcome="accepted"}[WINDOW]))`
	notTaken = `sum(increase(countersign_text_errors_total{*,class=~"bug|config|expired|fraud|retry|unknown"}[WINDOW]))`
	settled  = `sum(increase(countersign_text_receipts_total{*,status=~"delivered|undelivered|failed|canceled"}[WINDOW]))`
	arrived  = `sum(increase(countersign_text_receipts_total{*,status="delivered"}[WINDOW]))`
	ended    = `sum(increase(countersign_orders_ended_total{*}[WINDOW]))`
	won      = `sum(increase(countersign_orders_ended_total{*,outcome="confirmed"}[WINDOW]))`
)

var overview = board{
	uid:   "countersign-overview",
	title: "countersign / Overview",
	about: "Is it working for customers?",
	from:  "now-6h",
	rows: []row{
		{title: "Is it working for customers?", panels: []panel{
			{kind: number, title: "Conversion", wide: 4, unit: share, empty: "no order ended",
				about: "Of the orders that ended, the share that was confirmed. Compare with your own usual; under 60 % something is wrong.",
				steps: falling(0.6, 0.7), runbook: "conversiondropped",
				queries: []query{{expr: whole(won + " / (" + ended + " > 0)")}}},
			{kind: number, title: "Accepted", wide: 4, unit: share, empty: "no text",
				about: "Of the tries to text, the share that Twilio took. Numbers that cannot be texted and customers who opted out do not count. We promise 99 %.",
				steps: falling(0.95, 0.99), runbook: "textsnotaccepted",
				queries: []query{{expr: whole(taken + " / (" + taken + " + " + notTaken + " > 0)")}}},
			{kind: number, title: "Delivered", wide: 4, unit: share, empty: "no receipt",
				about: "Of the texts whose fate is known, the share that reached the phone. We promise 95 %.",
				steps: falling(0.9, 0.95), runbook: "textsnotdelivered",
				queries: []query{{expr: whole(arrived + " / (" + settled + " > 0)")}}},
			{kind: number, title: "Time to PIN", wide: 4, unit: seconds, empty: "no delivery",
				about: "How long 19 of 20 customers waited at most, from asking for the PIN to having it on the phone. We promise 30 s.",
				steps: rising(20, 30), runbook: "pinslate",
				queries: []query{{expr: `histogram_quantile(0.95, sum by (le) (increase(countersign_delivery_seconds_bucket{*}[$__range]))) >= 0`}}},
			{kind: number, title: "Oldest due text", wide: 4, unit: seconds, empty: "unknown",
				about: "For how long the oldest text has been due. More than a minute means that the outbox is stuck.",
				steps: rising(30, 60), runbook: "outboxstuck",
				queries: []query{{expr: `max(countersign_outbox_oldest_seconds{*})`}}},
			{kind: number, title: "Spent", wide: 4, unit: dollars, empty: "nothing",
				about:   "What the texts of the time shown cost, estimated from a table of prices per segment. Not a bill.",
				runbook: "spendhigh",
				queries: []query{{expr: `sum(increase(countersign_text_spend_usd_total{*}[$__range]))`}}},
		}},
		{title: "How far do orders get?", panels: []panel{
			{kind: lines, title: "Orders into each state", wide: 12, unit: perMinute,
				colors:  states,
				about:   "The funnel, per minute. Asked less confirmed is what is lost or still waits; locked and unreachable are customers in trouble.",
				queries: []query{{`sum by (state) (rate(countersign_orders_total{*,state!="other"}[$__rate_interval])) * 60`, "{{state}}"}}},
			{kind: lines, title: "Conversion over the hour", wide: 12, unit: share, most: 1,
				about: "Of the orders that ended within an hour, the share that was confirmed; and confirmed ones by those asked for within the same hour, which falls at once when customers stop confirming, while an order that nobody answers ends days later. Alerts: half of what was usual, and under 60 %.",
				steps: falling(0.6, 0.7), runbook: "conversiondropped",
				queries: []query{
					{hour(won + " / (" + ended + " > 0)"), "of those that ended"},
					{hour(`sum(increase(countersign_orders_total{*,state="confirmed"}[WINDOW])) / (sum(increase(countersign_orders_total{*,state="asked"}[WINDOW])) > 0)`), "of those asked for"},
				}},
			{kind: lines, title: "Time to confirm", wide: 12, unit: seconds,
				about: "From the first PIN to the confirmed order, for half the customers and for 9 of 10, by road.",
				queries: []query{
					{`histogram_quantile(0.5, sum by (channel, le) (rate(countersign_confirmation_seconds_bucket{*,channel!="other"}[1h])))`, "half, by {{channel}}"},
					{`histogram_quantile(0.9, sum by (channel, le) (rate(countersign_confirmation_seconds_bucket{*,channel!="other"}[1h])))`, "9 of 10, by {{channel}}"},
				}},
			{kind: stacked, title: "PINs given", wide: 12, unit: perMinute,
				colors:  judged,
				about:   "How the PINs that customers gave were judged. Many misses are typing trouble or somebody guessing, many late ones are texts that come too late.",
				runbook: "pinsguessed",
				queries: []query{{`sum by (result) (rate(countersign_pin_checks_total{*,result!="other"}[$__rate_interval])) * 60`, "{{result}}"}}},
		}},
		{title: "What is in the way?", panels: []panel{
			{kind: stacked, title: "Texts by outcome", wide: 8, unit: perMinute,
				colors:  outcomes,
				about:   "What each try to text a PIN came to. Waiting ones are tried again, dropped ones were overtaken by events.",
				queries: []query{{`sum by (outcome) (rate(countersign_texts_total{*,outcome=~"accepted|failed|dropped|waiting"}[$__rate_interval])) * 60`, "{{outcome}}"}}},
			{kind: stacked, title: "Why texts fail", wide: 8, unit: perMinute,
				colors:  failures,
				about:   "Errors of sending and of receipts by what they mean. Config and country are ours to put right; number, carrier and opted_out are not.",
				runbook: "twiliorefusesus",
				queries: []query{{`sum by (class) (rate(countersign_text_errors_total{*,class!="other"}[$__rate_interval])) * 60`, "{{class}}"}}},
			{kind: stacked, title: "Receipts", wide: 8, unit: perMinute,
				colors:  statuses,
				about:   "The fate of texts, as carriers tell it. Sent without delivered means that receipts, or texts, do not arrive.",
				runbook: "textsnotdelivered",
				queries: []query{{`sum by (status) (rate(countersign_text_receipts_total{*,status=~"sent|delivered|undelivered|failed|canceled"}[$__rate_interval])) * 60`, "{{status}}"}}},
			{kind: lines, title: "Time to delivery", wide: 8, unit: seconds,
				about: "From asking for a PIN to having it on the phone. Deliveries are few, so over the hour. We promise 30 s for 95 %.",
				steps: rising(20, 30), runbook: "pinslate",
				queries: []query{
					{`histogram_quantile(0.5, sum by (le) (rate(countersign_delivery_seconds_bucket{*}[1h])))`, "half"},
					{`histogram_quantile(0.95, sum by (le) (rate(countersign_delivery_seconds_bucket{*}[1h])))`, "95 %"},
				}},
			{kind: lines, title: "Twilio's time to accept", wide: 8, unit: seconds,
				about: "How long Twilio takes to answer our POST. Get PIN waits 3 s for it; after 8 s we give up, and look later whether it was taken.",
				steps: rising(3, 8), runbook: "textsnotaccepted",
				queries: []query{
					{`histogram_quantile(0.5, sum by (le) (rate(countersign_text_accept_seconds_bucket{*}[1h])))`, "half"},
					{`histogram_quantile(0.95, sum by (le) (rate(countersign_text_accept_seconds_bucket{*}[1h])))`, "95 %"},
				}},
			{kind: stacked, title: "Webhooks", wide: 8, unit: perMinute,
				colors:  calls,
				about:   "What became of Twilio's calls. Bad signatures: a wrong token or PUBLIC_URL, or a forger. Errors are ours; Twilio repeats few of them.",
				runbook: "webhooksforged",
				queries: []query{{`sum by (result) (rate(countersign_webhooks_total{*,result!="other"}[$__rate_interval])) * 60`, "{{result}}"}}},
		}},
		{title: "Is the service well?", panels: []panel{
			{kind: lines, title: "Requests that fail", wide: 8, unit: perMinute,
				about:   "Answers of class 5xx, in all and by route. On /readyz they mean that the database does not answer, or that we are stopping.",
				runbook: "pagesfail",
				queries: []query{
					// A route that has never failed has no such series: then all is 0.
					{`sum(rate(countersign_http_request_duration_seconds_count{*,code="5xx"}[$__rate_interval]) or 0 * rate(countersign_http_request_duration_seconds_count{*}[$__rate_interval])) * 60`, "all"},
					{`sum by (route) (rate(countersign_http_request_duration_seconds_count{*,code="5xx"}[$__rate_interval])) * 60`, "{{route}}"},
				}},
			{kind: lines, title: "Slowest routes", wide: 8, unit: seconds,
				about:   "How long 95 % of the answers took at most, for the five slowest routes. Get PIN waits up to 3 s for Twilio; the live stream is left out, since it is meant to last.",
				queries: []query{{`topk(5, histogram_quantile(0.95, sum by (route, le) (rate(countersign_http_request_duration_seconds_bucket{*,route!="/orders/{id}/live"}[$__rate_interval]))))`, "{{route}}"}}},
			{kind: lines, title: "Breaker open", wide: 4, unit: count, most: 1,
				about:   "1 while texts are held back, since Twilio refuses all of them, or all to a country, for what is ours to mend. Customers who ask for a PIN are told to come back.",
				runbook: "twiliorefusesus",
				queries: []query{{`max(countersign_breaker_open{*})`, "open"}}},
			{kind: lines, title: "Versions running", wide: 4, unit: count,
				about:   "How many machines run each version. More than one for long means that a deploy has stopped halfway.",
				queries: []query{{`count by (version) (countersign_build_info{*})`, "{{version}}"}}},
		}},
		{title: "On Fly", closed: true, panels: []panel{
			{kind: stacked, title: "Answers at Fly's edge", wide: 8, unit: perMinute,
				about:   "What visitors got, by status. More 5xx here than ours means that the proxy does not reach us.",
				queries: []query{{`sum by (status) (rate(fly_edge_http_responses_count{app=~"$app"}[$__rate_interval])) * 60`, "{{status}}"}}},
			{kind: lines, title: "Volume used", wide: 8, unit: percent,
				about: "How full the database's volume is. Fly extends it at 80 %, up to the limit in fly.toml.",
				steps: rising(80, 90), most: 100, runbook: "diskfills",
				queries: []query{{`max by (instance) (fly_volume_used_pct{*})`, "{{instance}}"}}},
			{kind: lines, title: "Killed for memory", wide: 8, unit: count,
				about:   "1 where the machine ran out of memory.",
				queries: []query{{`max by (instance) (fly_instance_exit_oom{*})`, "{{instance}}"}}},
		}},
	},
}
