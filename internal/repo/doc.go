// Package repo holds the repository to promises that no compiler checks. It
// has nothing but tests: who may import whom (imports_test.go), and that what
// deploys the service fits it: fly.toml and its page (fly_test.go,
// flydoc_test.go), containers with Prometheus and Grafana (deploy_test.go), the
// systemd unit (unit_test.go), and releases (release_test.go).
package repo
