module github.com/countersign/countersign/bench

go 1.26.0

require (
	github.com/gorilla/mux v1.8.1
	golang.org/x/sys v0.49.0
)

replace github.com/countersign/countersign => ../
