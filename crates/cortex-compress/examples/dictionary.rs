//! A service whose pages are compressed against a dictionary that the browser fetches in advance, and whose script is compressed
//! against the version that the browser has. It prints its address, which its one argument may set.
//!
//! `cargo run -p cortex-compress --features brotli,dictionary,gzip --example dictionary`, then open the address in
//! Chromium: the page tells which coding each response came in. By hand:
//!
//! ```text
//! curl -sO http://ADDRESS/app/v1/main.js
//! hash=$(openssl dgst -sha256 -binary main.js | base64)
//! curl -s http://ADDRESS/app/v2/main.js -H 'accept-encoding: dcz' -H "available-dictionary: :$hash:" | zstd -d -D main.js
//! ```
#![expect(clippy::print_stdout, reason = "it tells where to ask")]

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Extension, Router};
use cortex_compress::{CompressionLayer, Dictionary, DictionaryStore, Job, UseAsDictionary, dictionary_link};
use std::error::Error;
use std::fmt::Write;

/// How many versions of the script there are; the last is the present one.
const VERSIONS: u32 = 3;

/// Asks for a version of the script and for pages until there is a dictionary for them, and says how they came.
const INDEX: &str = r#"<!doctype html><meta charset="utf-8"><title>Dictionaries</title><pre id="log"></pre><script>
const log = (line) => { document.getElementById("log").textContent += line + "\n"; };
const coding = async (path) => {
  const response = await fetch(path, { cache: "no-store" });
  const text = await response.text();
  return [response.headers.get("content-encoding") ?? "identity", text.length];
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  await (await fetch("/app/v1/main.js")).text();
  await (await fetch("/dictionary.dat")).text();
  for (const path of ["/app/v3/main.js", "/pages/7"]) {
    let [name, length] = await coding(path);
    for (let tries = 0; !name.startsWith("dc") && tries < 50; tries++) {
      await wait(100);
      [name, length] = await coding(path);
    }
    log(`${path} ${name} ${length}`);
  }
  log("done");
})();
</script>"#;

fn script(version: u32) -> String {
    let mut script = format!("export const version = {version};\n");
    for line in 0..2000_u32 {
        let changed = if line % 100 == 0 { version } else { 0 };
        let mixed = (line + 1).wrapping_mul(2_654_435_761);
        let _ = writeln!(script, "export const f{line} = (x) => x * {mixed} + {changed};");
    }
    script
}

/// What is around the text of each page, and so in the dictionary.
fn page(title: &str, text: &str) -> String {
    let mut page = format!("<!doctype html><meta charset=\"utf-8\"><title>{title}</title><nav>");
    for item in 0..60_u32 {
        let mixed = (item + 1).wrapping_mul(2_246_822_519);
        let _ = write!(
            page,
            "<a href=\"/pages/{item}\" data-id=\"{mixed}\">Page {item}</a>"
        );
    }
    let _ = write!(page, "</nav><main>{text}</main>");
    page
}

/// Has long dictionaries worked up: the one of the script is of 90 KB.
#[expect(clippy::unnecessary_wraps, reason = "it is what an offload returns")]
fn run_elsewhere(job: Job) -> Result<(), Job> {
    tokio::task::spawn_blocking(job);
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let store = DictionaryStore::new();
    let template = page("", "");
    store.insert(Dictionary::new(template.clone())?)?;
    for version in 1..=VERSIONS {
        store.insert(Dictionary::new(script(version))?)?;
    }

    let for_pages = Extension(UseAsDictionary::new("/pages/*")?.id("template")?);
    let for_scripts = Extension(UseAsDictionary::new("/app/*/main.js")?);
    let link = dictionary_link("/dictionary.dat")?;
    let fresh = [("cache-control", "max-age=604800")];
    let index = ([(HeaderName::from_static("link"), link)], Html(INDEX));
    let dictionary = (
        for_pages,
        [("content-type", "application/octet-stream")],
        fresh,
        template,
    );
    Ok(Router::new()
        .route("/", get(async move || index))
        .route("/dictionary.dat", get(async move || dictionary))
        .route(
            "/pages/{number}",
            get(async |Path(number): Path<u32>| {
                Html(page(
                    &format!("Page {number}"),
                    &format!("This is page {number}."),
                ))
            }),
        )
        .route(
            "/app/{version}/main.js",
            get(async move |Path(version): Path<String>| {
                let number = version.strip_prefix('v').and_then(|number| number.parse().ok());
                match number.filter(|number| (1..=VERSIONS).contains(number)) {
                    Some(number) => {
                        let javascript = [("content-type", "text/javascript")];
                        (for_scripts, javascript, fresh, script(number)).into_response()
                    }
                    None => StatusCode::NOT_FOUND.into_response(),
                }
            }),
        )
        .layer(CompressionLayer::new().dictionaries(store).offload(run_elsewhere)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, app()?).await?;
    Ok(())
}
