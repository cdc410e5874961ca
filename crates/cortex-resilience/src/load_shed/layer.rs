use super::policy::Busy;
use super::shed::LoadShed;
use crate::gate::GateLayer;

/// Puts services behind one [`LoadShed`], which does not wait for them to be ready.
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::{LoadShed, LoadShedLayer};
/// use tower::Layer;
///
/// let layer = LoadShedLayer::new(LoadShed::builder("search").build());
/// let service = layer.layer("anything, until it is called");
/// # drop(service);
/// ```
pub type LoadShedLayer<P = Busy, O = ()> = GateLayer<LoadShed<P, O>>;
