"""Sends bodies in each coding to `/echo`, whole and damaged."""
import gzip, http.client, socket, sys, zlib

import brotli, zstandard

address = sys.argv[1]
ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=5),
    "zstd": zstandard.ZstdCompressor().compress,
}
answered = 0


def send(body, *codings, status):
    global answered
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.putrequest("POST", "/echo")
    for coding in codings:
        connection.putheader("content-encoding", coding)
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    try:
        connection.send(body)
    except OSError:
        pass  # it need not be read to be refused
    response = connection.getresponse()
    data = response.read()
    connection.close()
    assert response.status == status, (codings, len(body), response.status, status, data[:200])
    answered += 1
    return response, data


text = b"".join(b"%d: the quick brown fox, %x\n" % (n, n * n) for n in range(40_000))
small = text[:5_000]
for coding, encode in ENCODERS.items():
    for plain in (b"", b"x", small, text):
        encoded = encode(plain)
        assert send(encoded, coding, status=200)[1] == plain, (coding, len(plain))
        if not plain:
            continue
        # RFC 9110 has no empty encoding: all that is cut off is damaged, whatever the place.
        for end in {len(encoded) // 2, len(encoded) - 1, max(1, len(encoded) - 5)}:
            send(encoded[:end], coding, status=400)
        send(encoded + b"and more", coding, status=400)
    send(b"This is something else altogether.", coding, status=400)
    # What has a checksum tells when it is not the same.
    if coding in ("gzip", "x-gzip", "deflate"):
        encoded = bytearray(encode(text))
        encoded[len(encoded) // 2] ^= 0x55
        send(bytes(encoded), coding, status=400)

# Members and frames follow one another (RFC 1952 2.2, RFC 8878 3.1).
for coding in ("gzip", "zstd"):
    encode = ENCODERS[coding]
    assert send(encode(small) + encode(text), coding, status=200)[1] == small + text
    send(encode(b"") * 3_000, coding, status=413)
skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
assert send(skippable + ENCODERS["zstd"](small), "zstd", status=200)[1] == small
send(skippable * 3_000, "zstd", status=413)

# One coding upon the other, on one line and on two.
twice = gzip.compress(brotli.compress(text))
assert send(twice, "br, gzip", status=200)[1] == text
assert send(twice, "br", "gzip", status=200)[1] == text
send(gzip.compress(twice), "br, gzip, gzip", status=415)
response, _ = send(b"x", "compress", status=415)
offers = {offer.strip() for offer in response.headers["accept-encoding"].split(",")}
assert offers >= {"gzip", "deflate", "br", "zstd"}, offers

# Too long to begin with: answered without a byte of it.
host, port = address.split(":")
with socket.create_connection((host, int(port)), timeout=20) as connection:
    head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 100000000\r\n\r\n"
    connection.sendall(head.encode())
    line = connection.recv(100)
    assert line.startswith(b"HTTP/1.1 413 "), line
    answered += 1

# Some leave in the middle of it.
for coding, encode in ENCODERS.items():
    encoded = encode(text)
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-encoding: {coding}\r\ncontent-length: {len(encoded)}\r\n\r\n"
            connection.sendall(head.encode() + encoded[: len(encoded) // 2])
    assert send(encoded, coding, status=200)[1] == text
print(answered, "answers ok")
