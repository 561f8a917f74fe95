"""Where it runs: operating guides now, servers and containers later."""
