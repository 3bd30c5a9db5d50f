"""One module a feature: its list of requests (`test.side_by_side.table`). A new file is found by itself."""
