package main

import "context"

func (c *conductor) scaling(ctx context.Context) error { return ctx.Err() }
