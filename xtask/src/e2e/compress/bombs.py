"""Sends a gigabyte of zeros in each coding to `/echo`, which is to refuse it after a few of them."""
import http.client, sys, time, zlib

import brotli, zstandard

address = sys.argv[1]
GIGABYTE, CHUNK = 1 << 30, bytes(1 << 20)


def bomb(encoder, encode, finish):
    encoded = bytearray()
    for _ in range(GIGABYTE // len(CHUNK)):
        encoded += encode(encoder, CHUNK)
    return bytes(encoded + finish(encoder))


gzipped = bomb(zlib.compressobj(6, zlib.DEFLATED, 31), lambda e, data: e.compress(data), lambda e: e.flush())
# The same in the zlib format (RFC 1950), whose checksum of so many zeros is known.
deflated = b"\x78\x9c" + gzipped[10:-8] + (GIGABYTE % 65521 << 16 | 1).to_bytes(4, "big")
BOMBS = {
    "gzip": gzipped,
    "deflate": deflated,
    "br": bomb(brotli.Compressor(quality=5, lgwin=24), lambda e, data: e.process(data), lambda e: e.finish()),
    "zstd": bomb(zstandard.ZstdCompressor(level=3).compressobj(), lambda e, data: e.compress(data), lambda e: e.flush()),
    # The smallest: the codings are peeled off one by one.
    "gzip, gzip": zlib.compress(gzipped, 9, 31),
    "gzip, br": brotli.compress(gzipped, quality=9),
    "gzip, zstd": zstandard.ZstdCompressor(level=19).compress(gzipped),
}
for coding, encoded in BOMBS.items():
    start = time.monotonic()
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.putrequest("POST", "/echo")
    connection.putheader("content-encoding", coding)
    connection.putheader("content-length", str(len(encoded)))
    connection.endheaders()
    try:
        connection.send(encoded)
    except OSError:
        pass  # it need not be read to be refused
    response = connection.getresponse()
    assert response.status == 413, (coding, len(encoded), response.status, response.read()[:200])
    elapsed = time.monotonic() - start
    assert elapsed < 3, (coding, elapsed)
    print(f"{coding}: {len(encoded)} bytes refused in {elapsed:.3f} s")
print(len(BOMBS), "bombs ok")
