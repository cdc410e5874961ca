use std::thread;

use actix_web::http::KeepAlive;
use actix_web::http::header::ContentType;
use actix_web::middleware::Compress;
use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpServer, rt, web};

use crate::{Failure, bodies, listen, tell, wait_for_end};

/// Serves on one worker, by actix-web and its middleware. Large chunks go to its blocking threads, as always.
pub(crate) fn serve() -> Result<(), Failure> {
    let bodies = bodies().map(|(path, body)| (path, Bytes::from(body)));
    let listener = listen()?;
    let address = listener.local_addr()?;
    rt::System::new().block_on(async {
        let server = HttpServer::new(move || {
            let mut app = App::new().wrap(Compress::default());
            for (path, body) in bodies.clone() {
                let answer = web::get().to(move || {
                    let response = HttpResponse::Ok()
                        .content_type(ContentType::json())
                        .body(body.clone());
                    async { response }
                });
                app = app.route(path, answer);
            }
            app
        });
        // Others wait longer than its 5 s.
        let server = server.keep_alive(KeepAlive::Os);
        let server = server.workers(1).listen(listener)?.run();
        let handle = server.handle();
        tell(address)?;
        thread::spawn(move || {
            wait_for_end();
            drop(handle.stop(false)); // sent at once; nobody waits for the answer
        });
        server.await?;
        Ok(())
    })
}
