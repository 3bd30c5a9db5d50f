"""HTTP/1.1 both ways: server loop, messages, ranges, pooled and direct clients. Never knows what a request means."""
