use super::stages::Stages;

/// What can be a part of a [`Pipeline`](super::Pipeline): every policy of this crate.
///
/// It is implemented by them alone.
pub trait Policy {
    /// The policy around others.
    type Over<Rest: Stages>: Stages;

    /// Puts it around others, through which it looks.
    fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest>;
}

/// No policy.
impl Policy for () {
    type Over<Rest: Stages> = Rest;

    fn over<Rest: Stages>(self, rest: Rest) -> Rest {
        rest
    }
}

/// A policy around one future.
pub trait Wrap<F> {
    /// The future behind the policy.
    type Call<'a>
    where
        Self: 'a;

    /// Puts a future behind it.
    fn wrap(&self, future: F) -> Self::Call<'_>;
}

/// A policy around services.
#[cfg(feature = "tower")]
pub trait WrapService<S> {
    /// The service behind the policy.
    type Service;

    /// Puts a service behind it.
    fn wrap_service(&self, service: S) -> Self::Service;
}
