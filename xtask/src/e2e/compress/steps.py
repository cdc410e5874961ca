"""Reads events as they come: each is asked for only when the one before it has been decoded."""
import sys

import brotli, httpx, zstandard  # without these two httpx would not decode br and zstd

base = sys.argv[1]
events = 0
with httpx.Client(timeout=20, trust_env=False) as client:
    for coding in ["gzip", "deflate", "br", "zstd"]:
        # Here the server has this coding alone.
        below = f"{base}/{coding}"
        client.post(f"{below}/step").raise_for_status()
        with client.stream("GET", f"{below}/steps") as response:
            assert response.headers["content-encoding"] == coding, response.headers
            ids = [line for line in response.iter_lines() if line.startswith("id: ") and client.post(f"{below}/step")]
        assert ids == [f"id: {n}" for n in range(20)], (coding, ids)
        events += len(ids)
print(events, "events ok")
