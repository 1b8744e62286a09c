// Package handlers is the HTTP edge: it parses, proves who speaks, asks the
// [Desk], and says the answer in the asker's form, a page or JSON or TwiML.
// It decides nothing about an order, and keeps nothing of one.
//
// Two sorts of askers come. A customer's browser comes with forms and is known
// by a signed cookie (order.go, cookie.go, page.go, live.go). Twilio comes with
// webhooks and is known by its signature (webhook.go).
//
// On its way in, a request is given an id and measured (server.go), held back
// where it is one too many (valve.go), and refused if another site sent it.
// Handlers return errors, and one place logs and renders those (errors.go). No
// log line, error or label holds a PIN, a whole number or what was in a form.
//
// On the private listener ops looks into orders and texts (ops*.go), by pages
// without a script.
//
// Every page works without JavaScript; pages/order.js spares the customer
// steps. Start reading at the table of routes in server.go.
package handlers
