"""Reads each path plain and by each coding, first alone and then by many threads at a time, and compares."""
import concurrent.futures, hashlib, sys

import brotli, httpx, zstandard  # without these two httpx would not ask for br and zstd

base, *paths = sys.argv[1:]
CODINGS = ["gzip", "deflate", "br", "zstd"]
client = httpx.Client(timeout=20, trust_env=False, limits=httpx.Limits(max_connections=32))
asked = client.headers["accept-encoding"].replace(" ", "").split(",")
assert set(CODINGS) <= set(asked), asked


def read(url, accept):
    response = client.get(url, headers={"accept-encoding": accept})
    assert response.status_code == 200, (url, response)
    return response.headers.get("content-encoding"), hashlib.sha256(response.content).hexdigest()


def is_plain(path):
    return path == "empty" or path.startswith("noise/")


plain = {path: read(f"{base}/plain/{path}", "identity") for path in paths}
assert all(coding is None for coding, _ in plain.values())


def check(path, coding):
    found, digest = read(f"{base}/any/{path}", coding)
    assert found == (None if is_plain(path) else coding), (path, coding, found)
    assert digest == plain[path][1], (path, coding)


jobs = [(path, coding) for path in paths for coding in CODINGS]
for path, coding in jobs:
    check(path, coding)
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    list(pool.map(lambda job: check(*job), [job for job in jobs if job[0] != "json/1000000"] * 6))
print(len(jobs), "bodies ok")
