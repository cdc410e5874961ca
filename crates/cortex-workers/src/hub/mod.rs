//! Where tasks and workers meet.

mod admit;
mod after;
mod face;
mod inner;
mod seats;
mod time;
mod view;
mod work;

pub(crate) use self::after::{After, Next, Offered};
pub(crate) use self::face::Hub;
pub(crate) use self::inner::{Life, Task};
pub(crate) use self::view::View;
