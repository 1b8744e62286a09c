// Package repo holds the repository to promises that no compiler checks. It
// has nothing but tests: who may import whom (imports_test.go), and that
// fly.toml fits the service it deploys (fly_test.go).
package repo
