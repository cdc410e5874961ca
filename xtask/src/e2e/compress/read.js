// Reads each path plain and by each coding, decodes with zlib, and compares.
"use strict";
const { createHash } = require("node:crypto");
const http = require("node:http");
const { pipeline } = require("node:stream/promises");
const zlib = require("node:zlib");

const [base, ...paths] = process.argv.slice(1);
const decoders = { gzip: zlib.createGunzip, deflate: zlib.createInflate, br: zlib.createBrotliDecompress };
// From version 22.15 on.
if (zlib.createZstdDecompress) decoders.zstd = zlib.createZstdDecompress;
const isPlain = (path) => path === "empty" || path.startsWith("noise/");

async function read(url, accept) {
  const response = await new Promise((resolve, reject) => {
    http.get(url, { headers: { "accept-encoding": accept } }, resolve).on("error", reject);
  });
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`);
  const coding = response.headers["content-encoding"];
  const hash = createHash("sha256");
  await (coding ? pipeline(response, decoders[coding](), hash) : pipeline(response, hash));
  return { coding, digest: hash.digest("hex") };
}

(async () => {
  let bodies = 0;
  for (const path of paths) {
    const plain = await read(`${base}/plain/${path}`, "identity");
    for (const accept of Object.keys(decoders)) {
      const { coding, digest } = await read(`${base}/any/${path}`, accept);
      const expected = isPlain(path) ? undefined : accept;
      if (coding !== expected) throw new Error(`${path} in ${accept} came as ${coding}`);
      if (digest !== plain.digest) throw new Error(`${path} is not the same after ${accept}`);
      bodies += 1;
    }
  }
  console.log(`${bodies} bodies ok`);
})();
