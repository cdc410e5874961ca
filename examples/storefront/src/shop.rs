use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use cortex::http::Routes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::Catalogue;
use crate::checkout::Checkout;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) checkout: Checkout,
}

const INDEX: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Storefront</title>\
<h1>Storefront</h1><ul><li><a href=\"/catalogue\">catalogue</a> (10 KB)\
<li><a href=\"/catalogue/full\">all products</a> (100 KB)<li><a href=\"/products/7\">a product</a>\
<li><code>POST /checkout</code> <code>{\"product\": 7, \"quantity\": 1}</code></ul>";

/// The most pieces of one product in an order.
const MOST: u64 = 100;

impl Shop {
    pub(crate) fn routes(self) -> Routes {
        Routes::new()
            .route("/", get(|| async { Html(INDEX) }))
            .route(
                "/catalogue",
                get(|State(shop): State<Self>| async move { page(shop.catalogue.first_page.clone()) }),
            )
            .route(
                "/catalogue/full",
                get(|State(shop): State<Self>| async move { page(shop.catalogue.full.clone()) }),
            )
            .route("/products/{id}", get(product))
            .route("/checkout", post(checkout))
            .with_state(self)
    }
}

fn page(json: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], json)
}

async fn product(State(shop): State<Shop>, Path(id): Path<String>) -> Response {
    match id.parse().ok().and_then(|id| shop.catalogue.product(id)) {
        Some(product) => Json(product).into_response(),
        None => problem(
            StatusCode::NOT_FOUND,
            "there is no such product; /catalogue lists them",
        ),
    }
}

/// What a customer sends.
#[derive(Debug, Deserialize)]
struct Order {
    product: u32,
    quantity: u64,
}

async fn checkout(State(shop): State<Shop>, body: Bytes) -> Response {
    let Ok(order) = serde_json::from_slice::<Order>(&body) else {
        return problem(
            StatusCode::BAD_REQUEST,
            r#"expected JSON as in {"product": 7, "quantity": 1}"#,
        );
    };
    let Some(product) = shop.catalogue.product(order.product) else {
        return problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "there is no such product; /catalogue lists them",
        );
    };
    if !(1..=MOST).contains(&order.quantity) {
        return problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the quantity must be from 1 to 100",
        );
    }
    match shop.checkout.pay(product.price_cents * order.quantity).await {
        Ok(receipt) => (StatusCode::CREATED, Json(receipt)).into_response(),
        Err(unpaid) => problem(
            unpaid.status(),
            "the payment service did not take the payment; try again",
        ),
    }
}

/// An error as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    (
        status,
        [(CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}
